"""What a login is called, for people."""

from __future__ import annotations

import pytest

from swiftimgfs.store.login import (
    CallerLogin,
    CloudLogin,
    EnvironmentLogin,
    ReferenceLogin,
    name_of,
)
from swiftimgfs.store.references import AccountReference


@pytest.mark.parametrize(
    ("login", "environ", "name"),
    [
        (CloudLogin("mycloud"), {}, "cloud mycloud"),
        (CallerLogin(None, None), {}, "whoever calls"),
        (ReferenceLogin(AccountReference("", "http://x", "p:u", "k")), {}, "p:u"),
        (
            ReferenceLogin(AccountReference("", "http://x", application_credential_id="i")),
            {},
            "an application credential",
        ),
        (EnvironmentLogin(), {"ST_USER": "a:u", "OS_PROJECT_NAME": "p"}, "a:u"),
        (EnvironmentLogin(), {"OS_USERNAME": "u", "OS_PROJECT_NAME": "p"}, "p:u"),
        (EnvironmentLogin(), {"OS_USERNAME": "u"}, "u"),
        (
            EnvironmentLogin(),
            {"OS_APPLICATION_CREDENTIAL_ID": "i", "OS_APPLICATION_CREDENTIAL_SECRET": "s"},
            "an application credential",
        ),
        (EnvironmentLogin(), {"OS_AUTH_TOKEN": "t"}, "a token"),
    ],
)
def test_people_are_told_who_logs_in(login, environ, name):
    assert name_of(login, environ) == name
