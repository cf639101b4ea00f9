"""What docs/adding-a-problem.md says its commands print is what they print."""

from __future__ import annotations

import pytest

from support.walkthrough import DOCUMENT, Shown, agrees, follow, rewritten


@pytest.mark.long
def test_the_walkthrough_can_be_followed_to_its_end(tmp_path):
    document = DOCUMENT.read_text(encoding="utf-8")
    shown = follow(document, tmp_path)
    assert len(shown) == document.count("\n$ bnbench ") > 10
    for each in shown:
        assert agrees(each), f"$ {each.command}\n--- documented\n{each.documented}--- obtained\n{each.obtained}"


@pytest.mark.parametrize(
    ("documented", "obtained", "same"),
    [
        (
            "[1/2] a: loss 0.1 (3 s)\n[2/2] b: loss 0.2 (3 s)\n",
            "[1/2] b: loss 0.3 (1 s)\n[2/2] a: loss 0.4 (9 s)\n",
            True,
        ),
        ("id digits-0a3caffbe222\n", "id digits-c0ce8fc056e5\n", True),
        ("two\nlines\n", "two\nafter 10 s: 0 %, 0 of 2 runs ended\nlines\n", True),
        ("two\nlines\n", "two lines\n", True),
        ("first\n…\n", "first\nsecond\n", True),
        ("first\n…\n", "second\nfirst\n", False),
        ("Error: unknown key\n", "Error: unknown name\n", False),
        ("best test\n0.1 0.2\n", "best test\n0.1\n", False),
    ],
)
def test_only_what_differs_between_machines_is_overlooked(documented, obtained, same):
    assert agrees(Shown("bnbench", documented, obtained, (0, 0))) is same


def test_what_was_printed_can_be_put_into_the_document():
    document = "```\n$ bnbench a\nold\n```\ntext\n```\n$ bnbench b\none\n…\n```\n"
    first, second = document.index("old"), document.index("one")
    shown = [
        Shown("bnbench a", "old\n", "new\nlonger\n", (first, first + 4)),
        Shown("bnbench b", "one\n…\n", "1\n2\n3\n", (second, second + 6)),
    ]
    assert rewritten(document, shown) == "```\n$ bnbench a\nnew\nlonger\n```\ntext\n```\n$ bnbench b\n1\n…\n```\n"
