"""Push a hub folder to the hub, from a machine with network access."""

from __future__ import annotations

from pathlib import Path

from detour.cards.exported import CARD
from detour.cards.hub_folder import Record
from detour.errors import UserError

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN, as someone who may write there"


def push(folder: Path, repository: str | None, *, private: bool = False, endpoint: str | None = None) -> str:
    """Upload the folder in one commit, creating the repository if needed, and return the commit's URL.

    `repository` is by default that of the card's `about`. Raises UserError, saying what to do, if there is no card, no
    repository, no network or no write permission.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    if not (folder / CARD).is_file():
        raise UserError(f"{folder}: has no {CARD}; `detour card CHAIN` makes a folder to push")
    record = Record.read(folder)
    target = repository or (record.about.repository if record else None)
    if target is None:
        raise UserError("no repository: give --repository OWNER/NAME, or `repository` in the card's about file")
    of_transport: type[Exception] = HfHubHTTPError.__mro__[
        1
    ]  # the base of all errors of the HTTP client that the hub's library chose
    api = HfApi(endpoint=endpoint)
    try:
        api.create_repo(target, private=private, exist_ok=True)
        commit = api.upload_folder(folder_path=folder, repo_id=target, commit_message=f"Upload {target.split('/')[-1]}")
    except HFValidationError as error:
        raise UserError(f"{target}: not the name of a repository, expected OWNER/NAME: {_first_line(error)}") from error
    except LocalTokenNotFoundError as error:
        raise UserError(f"{target}: {_first_line(error)}; {LOG_IN}") from error
    except OfflineModeIsEnabled as error:
        raise UserError("HF_HUB_OFFLINE is set: unset it, on a login node with a network") from error
    except HfHubHTTPError as error:
        advice = f"; {LOG_IN}" if error.response is not None and error.response.status_code in (401, 403) else ""
        reason = error.server_message or _first_line(error)
        raise UserError(f"{target}: the hub refused it ({reason}){advice}") from error
    except of_transport as error:
        raise UserError(
            f"{target}: the hub cannot be reached ({_first_line(error)}); push from a login node with a network"
        ) from error
    return str(commit.commit_url)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
