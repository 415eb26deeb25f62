"""The same answers as exceptions, for a caller that can only go on with a grant.

AccountsServiceError
|-- GrantRefused      invalid_grant: this code is not accepted
`-- ClientRefused     our own credentials or request are wrong: every user would fail
"""

from spotify_auth.accounts_service import answers
from spotify_auth.accounts_service.grant import Grant


class AccountsServiceError(Exception):
    """The token endpoint gave no grant; `answer` is what it gave instead.

    Neither the answer nor the message carries a token, a code or anything else from the
    request.
    """

    def __init__(self, answer: answers.Failure) -> None:
        super().__init__(answer.code)
        self.answer = answer
        self.code = answer.code


class GrantRefused(AccountsServiceError):
    """See `answers.Refused`."""


class ClientRefused(AccountsServiceError):
    """See `answers.ClientRefused`."""


def grant_of(answer: answers.Answer) -> Grant:
    """The grant that was given. Raises AccountsServiceError for any other answer."""
    match answer:
        case answers.Granted(grant):
            return grant
        case answers.Refused():
            raise GrantRefused(answer)
        case answers.ClientRefused():
            raise ClientRefused(answer)
        case _:
            raise AccountsServiceError(answer)
