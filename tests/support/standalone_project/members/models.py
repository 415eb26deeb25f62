"""The user."""

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models


class Members(BaseUserManager):
    """Makes users without a username."""

    def create_user(self, email, password):
        member = self.model(email=email)
        member.set_password(password)
        member.save()
        return member

    def create_superuser(self, email, password):
        member = self.create_user(email, password)
        member.is_staff = member.is_superuser = True
        member.save()
        return member


class Member(AbstractBaseUser, PermissionsMixin):
    """A user with an e-mail address and nothing else."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)

    USERNAME_FIELD = EMAIL_FIELD = "email"
    objects = Members()

    def __str__(self):
        return self.email


class FormerToken(models.Model):
    """What the project kept before, under the names that one would choose."""

    user = models.OneToOneField(Member, models.CASCADE, related_name="spotify_token")
    seen_by = models.ForeignKey(Member, models.CASCADE, related_name="token_events")

    def __str__(self):
        return str(self.user)
