"""The result of curation: suspects by kind, and the corrected list."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from convwright.curation.fixed import CONFIDENT, Decision, FixedList, decisions_of
from convwright.curation.pool import ROLES, Pool
from convwright.curation.suspects import KINDS, Kind, Suspect
from convwright.display.result import Block, Heading, Lines, Paragraph, Result, Table
from convwright.display.wording import counted, duration
from convwright.printable import printable

SHOWN = 10
"""Most suspects of a kind that text shows."""
NOTES: dict[Kind, str] = {
    "duplicate": "each shows the same as another image, which is kept",
    "label": "cross-fitted predictions contradict the label",
    "unlike": "the most similar images have other classes",
    "outlier": "no other image is similar",
}


@dataclass(frozen=True)
class Curation(Result):
    """Images that should be looked at, by kind, and a corrected list: new labels, and rejected images left out."""

    name: str
    """The folder, the list or the source."""
    suspects: tuple[Suspect, ...] = field(repr=False)
    """All suspects by kind, those of each kind by certainty; an image is named once."""
    pool: Pool = field(repr=False, compare=False)
    """The images."""
    features: str
    """What the images were compared by."""
    notes: tuple[str, ...] = ()
    """Why these features were chosen, and what was not examined."""
    seconds: float = 0.0
    decisions: Mapping[int, Decision] = field(default_factory=dict, repr=False)
    """What becomes of images in the corrected list, by position in the pool."""
    out: str = ""
    """The corrected list, if one was written."""
    root: Path | None = field(default=None, repr=False)
    """Folder that the names are relative to; None for images of a source or in memory."""

    def of(self, kind: Kind) -> list[Suspect]:
        """Return the suspects of a kind, the surest first."""
        return [each for each in self.suspects if each.kind == kind]

    def fixed(self, accept: str | Path | None = None) -> FixedList:
        """Return the images that stay, with their labels.

        Args:
            accept: `confident`, `all` or `none`: which proposals are accepted for training and validation images; or a
                file that the page wrote. None: what `curate` was given.
        """
        return FixedList(
            self.pool, self.decisions if accept is None else decisions_of(accept, self.suspects, self.pool)
        )

    def save_list(self, path: str | Path, accept: str | Path = CONFIDENT) -> None:
        """Write the corrected list, which `--data` and `cw.open_data` read.

        Args:
            path: The list, .csv or .tsv; it is replaced if it exists. No other file is changed.
            accept: `confident`, `all` or `none`: which proposals are accepted for training and validation images; or a
                file that the page wrote.
        """
        from convwright.curation.fixed import check_list_path

        target = Path(path).expanduser()
        check_list_path(target, self.pool, self.root)
        self.fixed(accept).write(target, self.root)

    def to_dict(self) -> dict[str, object]:
        """Return counts and all suspects."""
        found = {kind: [each.to_dict() for each in self.of(kind)] for kind in KINDS}
        listed: dict[str, object] = {"list": self.out, "decisions": dict(self.fixed().counts)} if self.out else {}
        return {
            "data": self.name,
            "images": len(self.pool),
            "splits": self._split_counts(),
            "features": self.features,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
            "counts": {kind: len(found[kind]) for kind in KINDS},
            "confident": sum(each.confident for each in self.suspects),
            "suspects": found,
            **listed,
        }

    def blocks(self) -> Iterable[Block]:
        """Yield counts, then the surest suspects of each kind."""
        splits = ", ".join(f"{count:,} {split}" for split, count in self._split_counts().items())
        lines = [f"{printable(self.name)}: {counted(len(self.pool), 'image')} ({splits})"]
        if self.features:
            lines.append(f"compared by {printable(self.features)}, in {duration(self.seconds)}")
        yield Lines("\n".join(lines))
        for note in self.notes:
            yield Paragraph(f"note: {note}")
        if self.features:
            yield Table(("suspects", "images", "confident", "what they are"), [*self._kind_rows()])
        for kind in KINDS:
            yield from self._kind_blocks(kind)
        if self.out:
            counts = self.fixed().counts
            kept = len(self.pool) - counts["drop"]
            yield Paragraph(
                f"{printable(self.out)}: a list of {counted(kept, 'image')}, {counts['relabel']:,} with a new label; "
                f"{counts['drop']:,} left out"
            )

    def save_html(self, path: str | Path) -> None:
        """Write a page on which each suspect can be confirmed or dismissed, as one HTML file.

        Args:
            path: The file; it is replaced if it exists.
        """
        from convwright.curation.page import write_curation_page

        write_curation_page(Path(path), self)

    def _split_counts(self) -> dict[str, int]:
        counts = Counter(self.pool.roles.tolist())
        return {role: counts[number] for number, role in enumerate(ROLES) if counts[number]}

    def _kind_rows(self) -> Iterable[tuple[str, ...]]:
        for kind, title in KINDS.items():
            found = self.of(kind)
            yield title, f"{len(found):,}", f"{sum(each.confident for each in found):,}", NOTES[kind]

    def _kind_blocks(self, kind: Kind) -> Iterable[Block]:
        found = self.of(kind)
        if not found:
            return
        yield Heading(f"{KINDS[kind]}, the surest first")
        rows = [
            (
                printable(each.name),
                printable(each.label),
                printable(each.proposed_class) if each.action == "relabel" else "drop",
                "yes" if each.confident else "",
                printable("; ".join(each.reasons)),
            )
            for each in found[:SHOWN]
        ]
        yield Table(("image", "label", "proposal", "confident", "why"), rows, left=4)
        if len(found) > SHOWN:
            yield Lines(f"and {len(found) - SHOWN:,} more (the page and JSON have all)")
