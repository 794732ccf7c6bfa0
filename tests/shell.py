"""``kontext`` in this process, as a shell sees it."""

from __future__ import annotations

import pytest

from flows.cli import main


def kontext(capsys, *arguments: object) -> tuple[int, str, str]:
    """The exit code, and what was printed on stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err
