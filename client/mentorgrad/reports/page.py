"""A self-contained HTML page of sections: no scripts, no external resources."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from mentorgrad.reports.charts import BETTER, UNCLEAR, WORSE
from mentorgrad.reports.tables import ReportTable

_CSS = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #f4f6f8; color: #1d2430;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
main {{ max-width: 60rem; margin: 0 auto; padding: 2.2rem 1.2rem 4rem; }}
h1 {{ font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.15rem; margin: 0 0 .7rem; }}
.question {{ font-size: 1.1rem; color: #4a5361; margin: 0 0 1.4rem; overflow-wrap: anywhere; }}
.verdict {{ border-left: .4rem solid {UNCLEAR}; background: #fff; border-radius: .4rem;
  padding: .9rem 1.2rem; margin: 0 0 1.4rem; font-size: 1.1rem; overflow-wrap: anywhere; }}
.verdict b {{ display: block; font-size: .78rem; letter-spacing: .06em; text-transform: uppercase;
  color: #4a5361; }}
.verdict .figures {{ display: block; font-size: .92rem; color: #4a5361; margin-top: .35rem; }}
.warning {{ background: #fdf1e7; border-radius: .4rem; padding: .6rem 1.2rem; margin: 0 0 1.4rem; }}
section {{ background: #fff; border-radius: .4rem; padding: 1.1rem 1.2rem; margin: 0 0 1.2rem;
  box-shadow: 0 1px 2px rgba(20, 30, 50, .08); }}
svg {{ display: block; width: 100%; height: auto; overflow: visible; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; }}
th, td {{ text-align: left; padding: .38rem .7rem .38rem 0; border-bottom: 1px solid #e8ebef;
  vertical-align: top; font-variant-numeric: tabular-nums; overflow-wrap: break-word; }}
th {{ font-weight: 600; color: #4a5361; border-bottom-color: #c9cfd7; }}
td:first-child {{ font-weight: 600; }}
tr.subject td {{ background: #eef5fa; }}
.note {{ color: #4a5361; font-size: .88rem; margin: .7rem 0 0; }}
.better {{ color: {BETTER}; font-weight: 600; }}
.worse {{ color: {WORSE}; font-weight: 600; }}
.key span {{ margin-right: 1.1rem; white-space: nowrap; }}
code {{ font-size: .93em; background: #eef1f4; border-radius: .2rem; padding: 0 .25em; }}
footer {{ color: #4a5361; font-size: .85rem; }}
@media print {{ body {{ background: #fff; }} section {{ box-shadow: none; break-inside: avoid; }} }}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A page.

    Args:
        title: Plain text.
        parts: HTML of its sections; empty ones are left out.
    """
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def table_section(table: ReportTable, subject: str = "") -> str:
    """A section with a table; the row that begins with `subject` is marked."""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(_row(row, subject) for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )


def _row(row: tuple[str, ...], subject: str) -> str:
    cells = "".join(
        f'<td class="{cell}">{cell}</td>'
        if cell in ("better", "worse")
        else f"<td>{escape(cell)}</td>"
        for cell in row
    )
    return f'<tr class="subject">{cells}</tr>' if row[0] == subject else f"<tr>{cells}</tr>"
