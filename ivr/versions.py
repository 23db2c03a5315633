"""Which version of each stage this program is: a result made by another one is made again.

Raise a stage's number in STAGE_VERSIONS when, from the same options and inputs, it now writes something else than
before into a file that a later stage or a person reads: a mended fault, a better fit, another format. A faster way to
the same bytes, another message or another log is no new version. `tests/test_versions.py` fails when the results of a
small run change and no number does.
"""

from collections.abc import Mapping

# a manifest of before versions were recorded counts as version 1
STAGE_VERSIONS = {
    # 2: encodings by mark, special tokens part documents, JSON of any shape, bounded names
    # 3: tokenizer_config.json names what transformers would add by default, and what ends a text
    "init": 4,  # 4: commas between JSON values; text in ISO-2022, HZ or UTF-7 is refused
    # 2: BPEs in which a merge may come before one that makes its part
    "analyze": 3,  # 3: added tokens that are not special are cut out of text
    # 2: products made twice have the derivation that happens
    # 3: added tokens that merges make are given; the certificate compares around added tokens
    # 4: of more than 65,536 merges the text comes first, and pairs are soft constraints
    "distill-tokenizer": 5,  # 5: a smaller pattern, which splits as before
    "verify": 2,  # 2: texts around added tokens
    # 2: pretokens that use one token 1,024 times and more; 3: cells that a spreadsheet leaves as they are
    # 4: no string of an id that no text gives
    "select": 5,  # 5: superwords: where a sentence ends, and savings that few documents vouch for count for less
    "remap": 3,  # 2: an added token that merges make keeps its score; 3: the distilled tokenizer's smaller pattern
    "align": 2,  # 2: ordinary text says where distilled rows start and how far they go
    "train": 1,
    "control": 1,
    # 2: where prompts end
    # 3: intervals by scipy's bootstrap
    "evaluate": 4,  # 4: FLOPs a byte
    # 2: held-out lines before and after
    # 3: pictures and numbers as files, new rows, lineage, commands, the whole model card
    # 4: where prompts end
    "report": 5,  # 5: FLOPs without powers of ten; no columns and bars that say nothing; small pictures
}

# These stages promise that ids are those of this very `tokenizers`, whose Unicode tables and pattern engines change
# with it, and take minutes: another version of it makes them run again. When they write the same bytes, as they mostly
# do, nothing after them does.
DECIDING_PACKAGES = dict.fromkeys(("analyze", "distill-tokenizer", "verify", "remap"), ("tokenizers",))
# Other packages move results by rounding, if at all, and hours of training or an edited table hang on them: said, and
# left to the reader.
NOTED_PACKAGES = {
    "select": ("tokenizers",),
    "align": ("torch", "transformers"),
    "train": ("torch", "transformers", "accelerate", "deepspeed"),
    "control": ("torch", "transformers", "accelerate", "deepspeed"),
    "evaluate": ("torch", "transformers"),
}


def stage_version(stage: str) -> int:
    """The version of a stage in this program; 1 for one that is in no table."""
    return STAGE_VERSIONS.get(stage, 1)


def why_outdated(stage: str, version: int, recorded: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Why a result of this version, made with the packages `recorded`, is made again where `here` are installed.

    >>> why_outdated("analyze", 1, {}, {})
    'made by version 1 of analyze, this is 3'
    >>> why_outdated("analyze", 3, {"tokenizers": "0.22.0"}, {"tokenizers": "0.22.1"})
    'made with tokenizers 0.22.0, this is 0.22.1'
    """
    if version != stage_version(stage):
        return f"made by version {version} of {stage}, this is {stage_version(stage)}"
    return _changed(DECIDING_PACKAGES.get(stage, ()), recorded, here)


def package_remark(stage: str, recorded: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Which packages that may move a result a little are others now; such a result is kept.

    >>> package_remark("train", {"torch": "2.9.0"}, {"torch": "2.9.1"})
    'made with torch 2.9.0, this is 2.9.1'
    """
    return _changed(NOTED_PACKAGES.get(stage, ()), recorded, here)


def _changed(packages: tuple[str, ...], recorded: Mapping[str, str], here: Mapping[str, str]) -> str:
    return "; ".join(
        f"made with {package} {recorded[package]}, this is {here[package]}"
        for package in packages
        if package in recorded and package in here and recorded[package] != here[package]
    )
