"""What a superword may be made of, and what it may not span.

A superword is the text of 2 to N whole pretokens, one behind another. Some can never stand in one, so that a pattern
finds a superword by its characters and by what follows it, and so that it starts and ends where pretokens do:

* pretokens of blanks alone: which blank belongs to the word behind depends on what follows. So no superword holds a
  line end, either;
* letters right behind a contraction (`'stuff` is `'s`, `tuff`): both sides of that border are letters.

By default nothing goes on behind the end of a sentence or clause, and numbers stay out. A mark ends a sentence when a
blank stands behind it and what closes with it (`." `): not in `U.S.C.`, `numpy.ndarray`, `et al.,`, `:class:`. Where no
blanks stand between sentences, as in Chinese, and for letters beyond ASCII, a mark ends one whatever follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivr.analysis.pretokens import PretokenSplitter
from ivr.encoding.gpt2_pattern import BLANK, LETTER, NUMBER

LINE_ENDS = frozenset("\r\n")
CONTRACTIONS = frozenset({"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
ENDS_BEFORE_BLANK = frozenset(".!?;:")
ENDS_ANYWHERE = frozenset("\u2026\u3002\uff01\uff1f\uff1b\uff1a\uff0e\uff61\u061f\u061b\u06d4\u0964")
CLOSING = "\"')]}>`*_\u2019\u201d\u00bb"  # stand behind the mark and belong to its sentence
SENTENCES, DIGITS, NONE = "sentences", "digits", "none"


@dataclass(frozen=True)
class Boundaries:
    """What no superword spans, besides line ends and other runs of blanks."""

    sentences: bool = True
    digits: bool = True

    @classmethod
    def named(cls, names: str) -> "Boundaries":
        """From `sentences,digits`, one of them, or `none`. Raises ValueError, naming the wrong name.

        >>> Boundaries.named("sentences")
        Boundaries(sentences=True, digits=False)
        """
        given = names.split(",")
        for name in given:
            if name not in (SENTENCES, DIGITS, NONE) or (name == NONE and len(given) > 1):
                raise ValueError(name)
        return cls(SENTENCES in given, DIGITS in given)


@dataclass(frozen=True)
class Joints:
    """Which of P distinct pretokens may stand in a superword, and beside what. All bool (P,)."""

    joins_P: np.ndarray  # it may be part of one at all
    ends_P: np.ndarray  # nothing follows it
    ends_before_blank_P: np.ndarray  # no pretoken that begins with a blank or a character beyond ASCII follows it
    goes_on_P: np.ndarray  # begins with an ASCII character and no blank
    contraction_P: np.ndarray
    bare_letters_P: np.ndarray  # letters without a blank in front
    numbers_P: np.ndarray

    def joined(self, rows_T: np.ndarray, document_ends: np.ndarray) -> np.ndarray:
        """May the pretokens at t and t + 1 stand in one superword? bool (T,), False at the last one.

        `rows_T`: distinct pretoken of every position; `document_ends`: the position behind each document's last.

        >>> any_P, none_P = np.ones(2, bool), np.zeros(2, bool)
        >>> known = Joints(any_P, ends_P=np.array([False, True]), ends_before_blank_P=none_P, goes_on_P=any_P,
        ...                contraction_P=none_P, bare_letters_P=none_P, numbers_P=none_P)
        >>> known.joined(np.array([0, 0, 1, 0]), np.array([4])).tolist()  # 1 is the end of a sentence
        [True, True, False, False]
        """
        joined_T = np.zeros(len(rows_T), bool)
        if len(rows_T) < 2:
            return joined_T
        here, behind = rows_T[:-1], rows_T[1:]
        ends = self.ends_P[here] | (self.ends_before_blank_P[here] & ~self.goes_on_P[behind])
        joined_T[:-1] = self.joins_P[here] & self.joins_P[behind] & ~ends
        joined_T[document_ends[document_ends > 0] - 1] = False
        parted = np.flatnonzero(self.contraction_P[here] & self.bare_letters_P[behind])
        joined_T[parted] = joined_T[parted + 1] = False
        return joined_T


def joints(pretokens: Sequence[str], splitter: PretokenSplitter, boundaries: Boundaries) -> Joints:
    """`pretokens`: of GPT-2's pattern. `splitter`: the original tokenizer's."""
    classes = splitter.all_classes
    kinds_P = np.array([classes[ord(text[1] if text[0] == " " and len(text) > 1 else text[0])] for text in pretokens])
    bare_P = np.array([text[0] != " " for text in pretokens], bool)
    ends = [boundaries.sentences and not ENDS_ANYWHERE.isdisjoint(text) for text in pretokens]
    before_blank = [boundaries.sentences and text.rstrip(CLOSING)[-1:] in ENDS_BEFORE_BLANK for text in pretokens]
    numbers_P = kinds_P == NUMBER
    # other patterns than GPT-2's put a line end behind a mark
    joins_P = (kinds_P != BLANK) & np.array([LINE_ENDS.isdisjoint(text) for text in pretokens], bool)
    return Joints(
        joins_P=joins_P & ~numbers_P if boundaries.digits else joins_P,
        ends_P=np.array(ends, bool),
        ends_before_blank_P=np.array(before_blank, bool),
        goes_on_P=np.array([text[0] != " " and text[0] < "\x80" for text in pretokens], bool),
        contraction_P=np.array([text in CONTRACTIONS for text in pretokens], bool),
        bare_letters_P=bare_P & (kinds_P == LETTER),
        numbers_P=numbers_P,
    )


def cannot_be_placed(pretokens: Sequence[str], splitter: PretokenSplitter) -> str:
    """Why no pattern could find this superword (two pretokens or more), as a phrase; empty when one can.

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.BPE())
    >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    >>> split = PretokenSplitter(tokenizer)
    >>> cannot_be_placed(split("of the"), split), cannot_be_placed(split("end\\nof"), split)
    ('', "it holds the blanks '\\\\n', and no new token spans a line end or a run of blanks")
    """
    known = joints(pretokens, splitter, Boundaries(sentences=False, digits=False))
    for text, joins in zip(pretokens, known.joins_P.tolist(), strict=True):
        if not joins:
            return f"it holds the blanks {text!r}, and no new token spans a line end or a run of blanks"
    if not known.joined(np.arange(len(pretokens)), np.array([len(pretokens)]))[:-1].all():
        return "letters stand right behind a contraction"
    return ""
