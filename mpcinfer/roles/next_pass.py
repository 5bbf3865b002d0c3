"""Which pass comes next, while drafts are checked: a guess, so that the dealer need not be waited for."""

from __future__ import annotations


class NextPass:
    """Guesses for one answer that all drafts are right and that there will be as many again.

    Which pass comes is known when the one before is over. Its correlations can be dealt while that one runs
    only for a guess, and a wrong guess is correlations for nothing; after one there is none any more. So no
    more than one pass of an answer is dealt for in vain, the one after an unforeseen end included.

    Args:
        end: the most tokens of prompt and answer.
    """

    def __init__(self, end: int) -> None:
        self._end = end
        self._likely: tuple[int, int] | None = None
        self._failed = False

    def after(self, length: int, rows: int) -> int:
        """Tokens, each with a row, of the pass after one that ends the text, drafts included; 0 for no guess.

        Args:
            length: tokens of that text.
            rows: of the pass, one more than it has drafts. After one without drafts there is no guess.
        """
        self._failed |= self._likely not in (None, (length, rows))
        then = 0 if self._failed or rows == 1 else min(rows, self._end - length - 1)
        self._likely = (length + then, then) if then else None
        return then
