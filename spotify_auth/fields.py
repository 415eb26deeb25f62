"""An encrypted column, each value bound to its table, column and row."""

from typing import TYPE_CHECKING, Any, cast, overload

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.query_utils import DeferredAttribute

from spotify_auth.encryption import cipher
from spotify_auth.secrecy import forgets_variables


class Sealed(bytes):
    """A value as it is stored. It shows nothing of itself."""

    def __repr__(self) -> str:
        return "<sealed>"

    __str__ = __repr__


class _UnsealingAttribute(DeferredAttribute):
    """Decrypts when the attribute is read, since only then the row is known."""

    @overload
    def __get__(self, instance: None, cls: Any = None) -> "_UnsealingAttribute": ...
    @overload
    def __get__(self, instance: models.Model, cls: Any = None) -> str | None: ...
    def __get__(self, instance: models.Model | None, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed):
            field = cast(EncryptedTextField, self.field)
            return field.unseal(value, primary_key=instance.pk if instance else None)
        return value

    def __set__(self, instance: models.Model, value: str | Sealed | None) -> None:
        instance.__dict__[self.field.attname] = value


if TYPE_CHECKING:
    _BinaryField = models.BinaryField[str | None, str | None]
else:
    _BinaryField = models.BinaryField  # Django's own is not generic at run time


class EncryptedTextField(_BinaryField):
    """Text that PostgreSQL stores as AES-256-GCM-SIV ciphertext.

    Reading the attribute of an instance decrypts. Query sets that return columns
    (`values()`) give `Sealed` bytes, look-ups by value are impossible, `update()` is
    refused since it does not know the row, and serializers (dumpdata) leave it out.
    """

    descriptor_class = _UnsealingAttribute

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["serialize"] = False
        super().__init__(*args, **kwargs)

    @forgets_variables
    def seal(self, plaintext: str, *, primary_key: object) -> Sealed:
        """Encrypt for one row."""
        return Sealed(cipher().encrypt(plaintext, place=self._place(primary_key)))

    @forgets_variables
    def unseal(self, stored: bytes, *, primary_key: object) -> str:
        """Decrypt what one row stores. Raises DecryptionError."""
        return cipher().decrypt(bytes(stored), place=self._place(primary_key))

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Sealed | None:
        """Keep what came from the database sealed until somebody reads it."""
        return None if value is None else Sealed(value)

    @forgets_variables
    def pre_save(self, model_instance: models.Model, add: bool) -> Sealed | None:
        """Encrypt for the row that is being saved."""
        value = model_instance.__dict__.get(self.attname)
        if value is None or isinstance(value, Sealed):
            return value
        if model_instance.pk is None:
            raise ValueError(f"{self} needs the primary key before it can be encrypted")
        return self.seal(value, primary_key=model_instance.pk)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        """Let nothing through that is not encrypted."""
        if value is not None and not isinstance(value, Sealed):
            raise TypeError(f"{self} cannot be written or searched without its row: use save()")
        return super().get_db_prep_value(value, connection, prepared)

    def get_lookup(self, lookup_name: str) -> Any:
        """Allow `isnull` only: equal texts have different ciphertexts."""
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None

    def _place(self, primary_key: object) -> str:
        return f"{self.model._meta.db_table}.{self.attname}.{primary_key}"
