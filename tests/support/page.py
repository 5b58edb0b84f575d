"""The Python of docs/python.md, which tests run unchanged."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def examples() -> dict[str, str]:
    """Heading -> the code below it."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    code = {section.partition("\n")[0]: re.findall(r"```python\n(.*?)```", section, re.DOTALL) for section in sections}
    return {heading: "\n".join(blocks) for heading, blocks in code.items() if blocks}
