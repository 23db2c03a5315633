"""What travels with a model beside its weights and tokenizer: chat templates, the licence, the base model's card."""

import re
import shutil
from pathlib import Path
from typing import Any

from ivr.base.model_files import CARD, CHAT_TEMPLATE, LICENCE, MORE_CHAT_TEMPLATES
from ivr.console import LOG

BASE_CARD = "BASE_README.md"  # in models made from the base model, whose own README.md says what they are
LARGEST_BYTES = 1 << 20
LICENCE_KEYS = ("license", "license_name", "license_link")
PLAIN = re.compile(r"[\w.+:/#-]{1,200}")


def chat_templates(folder: Path) -> list[str]:
    """Names of the files, relative to `folder`, from which transformers takes chat templates."""
    names = [f"{path.parent.name}/{path.name}" for path in sorted(folder.glob("additional_chat_templates/*"))]
    found = [CHAT_TEMPLATE] if (folder / CHAT_TEMPLATE).is_file() else []
    return found + [name for name in names if MORE_CHAT_TEMPLATES.fullmatch(name)]


def copy_chat_templates(source: Path, target: Path) -> None:
    """Copy the chat templates that lie in files; one in tokenizer_config.json travels with that."""
    for name in chat_templates(source):
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, target / name)


def copy_licence(source: Path, target: Path) -> None:
    """Copy the licence's files and the base model's card, which is where most models name their licence."""
    for path in sorted(source.iterdir()):
        name = BASE_CARD if path.name == CARD and not (source / BASE_CARD).exists() else path.name
        if name == BASE_CARD or LICENCE.fullmatch(name):
            copy_text(path, target / name)


def copy_text(path: Path, target: Path) -> None:
    """Copy a text that no stage needs: where it cannot be, that is said."""
    if path.is_file() and path.stat().st_size <= LARGEST_BYTES:
        shutil.copyfile(path, target)
    elif not path.is_dir():
        LOG.warning("%s does not travel with the model: it is no file of at most %d bytes", path, LARGEST_BYTES)


def licence_of(folder: Path) -> dict[str, str]:
    """What the base model's card says of its licence: the keys `license`, `license_name`, `license_link`."""
    import yaml

    card = folder / (BASE_CARD if (folder / BASE_CARD).is_file() else CARD)
    if not card.is_file():
        return {}
    text = card.read_text(encoding="utf-8", errors="replace")
    match = re.match(r"---\r?\n(.*?)\n---\r?\n", text, re.DOTALL)
    try:
        facts: Any = yaml.safe_load(match[1]) if match else None
    except (yaml.YAMLError, ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        return {}
    return {key: str(facts[key]) for key in LICENCE_KEYS if PLAIN.fullmatch(str(facts.get(key) or ""))}
