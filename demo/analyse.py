"""
Reads a table and says what needs attention, in summary.md and chart.png.

    analyse.py [TABLE.csv] [--days 14] [--as-of YYYY-MM-DD] [--marker PATH] [--remembered TEXT]…

A table with a column that says when a row was last touched (by its name and its values) is searched for open rows that
nobody has touched for some days. "Today" is the latest date in that column, so that the same table always gives the same
answer; --as-of names another day. Any other table is described column by column, and nothing is claimed about it that
its values do not say. Sums are made per currency where there is such a column.

What is worth remembering is said in a line that begins with "Noticed:". What an earlier run noticed comes back by
--remembered; the rows that it names by the first column are looked up again.
"""

import argparse
import csv
import glob
import os
import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

DATE = re.compile(r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2} [A-Za-z]{3,9} \d{4})")
TOUCHED = ["last_touched", "last_activity", "last_contact", "last_modified", "modified", "updated", "touched", "activity", "contacted"]
AMOUNT = ["amount", "value", "revenue", "price", "total", "sum", "size"]
CLOSED = re.compile(r"closed|won|lost|done|cancel", re.IGNORECASE)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table", nargs="?")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--as-of", type=pd.Timestamp)
    parser.add_argument("--marker")
    parser.add_argument("--remembered", action="append", default=[])
    given = parser.parse_args()
    path = given.table or next(iter(sorted(glob.glob("*.csv"))), None)
    if path is None:
        parser.error("there is no .csv file here, and none was named")
    rows, repeated = read(path)
    print(f"{os.path.basename(path)}: {len(rows):,} rows, {len(rows.columns)} columns, {repeated:,} exact repetitions left out")
    touched = find_dates(rows)
    report = stale_report(rows, touched, given) if touched else column_report(rows)
    with open("summary.md", "w", encoding="utf-8") as summary:
        summary.write("\n".join([f"# {os.path.basename(path)}", "", *report, ""]))
    if given.marker:
        open(given.marker, "x").close()
    print("Wrote summary.md and chart.png.")


def read(path):
    """Every value as text, so that nothing is guessed before it is looked at; separator and encoding as the file has them."""
    encoding = "utf-8-sig"
    try:
        with open(path, encoding=encoding) as file:
            for _ in iter(lambda: file.read(1 << 20), ""):
                pass
    except UnicodeDecodeError:
        encoding = "latin-1"
    with open(path, encoding=encoding, newline="") as file:
        try:
            separator = csv.Sniffer().sniff(file.readline() + file.readline(), ",;\t|").delimiter
        except csv.Error:
            separator = ","
    rows = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding=encoding, on_bad_lines="warn")
    rows.columns = [str(name).strip() for name in rows.columns]
    rows = rows.apply(lambda column: column.str.strip())
    once = rows.drop_duplicates()
    return once.reset_index(drop=True), len(rows) - len(once)


def plain(name):
    return re.sub(r"[^a-z]+", "_", name.lower()).strip("_")


def find(rows, names, fits):
    """The column whose name says what is looked for and whose values agree; the earlier a name stands, the better it fits."""
    for name in names:
        for column in rows.columns:
            if name in plain(column) and fits(rows[column]):
                return column
    return None


def find_dates(rows):
    return find(rows, TOUCHED, lambda column: share(column, column.str.match(DATE)) > 0.8)


def share(column, hits):
    filled = column != ""
    return float(hits[filled].mean()) if filled.any() else 0.0


def dates(column):
    text = column.where(column.str.match(DATE), None).str.slice(0, 19)
    return text.map(lambda value: pd.to_datetime(value, errors="coerce"), na_action="ignore").astype("datetime64[ns]").dt.normalize()


def number(text):
    """1,234.50 and 1.234,50 and $1234 are numbers; anything else is none."""
    digits = re.sub(r"[^\d.,-]", "", text)
    if re.fullmatch(r"-?\d{1,3}(\.\d{3})+(,\d+)?|-?\d+,\d{1,2}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    try:
        return float(digits.replace(",", ""))
    except ValueError:
        return float("nan")


def find_amounts(rows):
    return find(rows, AMOUNT, lambda column: share(column, column.map(number).notna()) > 0.8)


def stale_report(rows, touched, given):
    when = dates(rows[touched])
    today = given.as_of or when.max()
    stage = find(rows, ["stage", "status", "state"], lambda column: column.nunique() <= 40)
    is_open = ~rows[stage].str.contains(CLOSED) if stage else pd.Series(True, index=rows.index)
    idle = (today - when).dt.days
    stale = is_open & (idle >= given.days)
    amount = find_amounts(rows)
    owner = find(rows, ["owner", "assignee", "rep"], lambda column: column.nunique() > 1)
    print(f"{int(stale.sum()):,} of {int(is_open.sum()):,} open rows untouched for {given.days} days or more, as of {today:%Y-%m-%d}")
    lines = [
        f"**{int(stale.sum()):,} of {int(is_open.sum()):,} open rows have not been touched for {given.days} days or more.**",
        "",
        f"- Today is {today:%Y-%m-%d}: {'as asked for' if given.as_of is not None else f'the latest `{touched}` in the table'}.",
        f"- Open means: {f'`{stage}` says neither closed, won, lost, done nor cancelled' if stage else 'every row, for no column says which are closed'}.",
        f"- {int((is_open & when.isna()).sum()):,} open rows have no readable `{touched}`; they are not counted as untouched.",
    ]
    if amount:
        lines += ["", f"## What they are worth (`{amount}`)", "", *worth(rows, stale, amount)]
    if owner:
        lines += ["", f"## By `{owner}`", "", *by_owner(rows, stale, is_open, owner)]
    if given.remembered:
        lines += ["", "## Remembered from before", "", *again(rows, given.remembered, stale, idle)]
    notice(rows, stale, when, amount)
    lines += ["", "## Longest untouched", "", *longest(rows, stale, idle, [touched, stage, owner, amount])]
    draw_stale(idle[is_open & idle.notna()], given.days, today)
    return lines


def notice(rows, stale, when, amount):
    """The one row that it would be worst to forget: of those untouched the one worth most, or else the longest untouched."""
    values = rows[stale][amount].map(number) if amount else pd.Series(dtype=float)
    at = values.idxmax() if values.notna().any() else when[stale].idxmin() if stale.any() else None
    if at is None:
        return
    name = find(rows, ["account", "customer", "client", "company", "name"], lambda column: column.nunique() > 1)
    who = " ".join(str(rows.at[at, name]).split()) if name else "It"
    print(f"Noticed: {who} ({rows.at[at, rows.columns[0]]}) has gone quiet since {when[at]:%Y-%m-%d}")


def again(rows, remembered, stale, idle):
    """What has become of the rows that an earlier run named."""
    lines = []
    for text in remembered:
        named = [at for at, first in rows[rows.columns[0]].items() if first and f"({first})" in text]
        for at in named:
            now = f"still untouched, {int(idle[at])} days by now" if stale[at] else "not among the untouched any more"
            lines.append(f"- {cell(text)}: {now}.")
            print(f"Remembered: {text}: {now}")
    return lines or ["Nothing in this table is what was remembered."]


def worth(rows, stale, amount):
    currency = find(rows, ["currency"], lambda column: column.nunique() <= 40)
    values = rows[stale].assign(_value=rows[stale][amount].map(number))
    kinds = values[currency].str.upper().replace("", "unknown") if currency else pd.Series("all", index=values.index)
    sums = values.groupby(kinds)["_value"].agg(["count", "sum"]).sort_values("count", ascending=False)
    lines = ["| currency | rows | sum |" if currency else "| | rows | sum |", "|---|---:|---:|"]
    lines += [f"| {cell(kind)} | {int(row['count']):,} | {row['sum']:,.2f} |" for kind, row in sums.iterrows()]
    missing = int(values["_value"].isna().sum())
    return lines + (["", f"{missing:,} of them have no readable `{amount}` and are in no sum."] if missing else [])


def by_owner(rows, stale, is_open, owner):
    names = rows[owner].replace("", "(nobody)")
    counts = pd.DataFrame({"stale": stale.groupby(names).sum(), "open": is_open.groupby(names).sum()}).sort_values("stale", ascending=False)
    lines = ["| who | untouched | open |", "|---|---:|---:|"]
    return lines + [f"| {cell(name)} | {int(row['stale']):,} | {int(row['open']):,} |" for name, row in counts.head(12).iterrows()]


def longest(rows, stale, idle, columns):
    shown = [rows.columns[0], *[column for column in columns if column and column != rows.columns[0]]]
    worst = idle[stale].sort_values(ascending=False, kind="stable").head(15).index
    lines = ["| " + " | ".join(map(cell, shown)) + " | days |", "|" + "---|" * len(shown) + "---:|"]
    return lines + ["| " + " | ".join(cell(rows.at[at, column]) for column in shown) + f" | {int(idle[at])} |" for at in worst]


def column_report(rows):
    print("No column says when a row was last touched: describing the columns instead")
    lines = [
        f"{len(rows):,} rows, {len(rows.columns)} columns. No column says when a row was last touched, so nothing is flagged.",
        "", "| column | filled | distinct | holds | most frequent, or range |", "|---|---:|---:|---|---|",
    ]
    for column in rows.columns:
        values = rows[column][rows[column] != ""]
        kind, said = describe(values)
        lines.append(f"| {cell(column)} | {len(values):,} | {values.nunique():,} | {kind} | {said} |")
    amount = find_amounts(rows)
    draw_columns(rows, amount)
    return lines


def describe(values):
    if values.empty:
        return "nothing", ""
    if values.str.match(DATE).mean() > 0.95:
        when = dates(values)
        return "dates", f"{when.min():%Y-%m-%d} to {when.max():%Y-%m-%d}"
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().mean() > 0.95:
        return "numbers", f"{numbers.min():,.10g} to {numbers.max():,.10g}, median {numbers.median():,.10g}"
    if len(values) > 1 and values.is_unique:
        return "text", "every value different"
    top = values.value_counts().head(3)
    return "text", ", ".join(f"{cell(value)} ({count:,})" for value, count in top.items())


def cell(value):
    """A value inside a table of Markdown: one line, no markup, not endless."""
    text = re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(str(value).split()))
    return text if len(text) <= 60 else text[:59] + "…"


def draw_stale(idle, days, today):
    figure, axes = plt.subplots(figsize=(9, 4.5), dpi=120)
    top = max(days * 2, int(idle.quantile(0.98)) if len(idle) else 0)
    bins = range(days % 7 - 7 if days % 7 else 0, top + 7, 7)
    counts, _, bars = axes.hist(idle.clip(upper=top), bins=list(bins))
    for left, bar in zip(bins, bars):
        bar.set_color("#c8553d" if left >= days else "#588157")
    axes.axvline(days, color="#333333", linestyle="--", linewidth=1)
    axes.text(days, max(counts, default=1) * 0.97, f" {days} days", va="top")
    axes.set(title=f"Open rows by days since last touched, as of {today:%Y-%m-%d}", xlabel="days (the last bar holds all beyond)", ylabel="rows")
    save(figure, axes)


def draw_columns(rows, amount):
    figure, axes = plt.subplots(figsize=(9, 4.5), dpi=120)
    grouped = [column for column in rows.columns if 1 < rows[column].nunique() <= max(40, len(rows) // 20)]
    if grouped:
        column = max(grouped, key=lambda name: rows[name].nunique())
        top = rows[column].replace("", "(empty)").value_counts().head(15)[::-1]
        axes.barh([str(name)[:30].replace("$", r"\$") for name in top.index], top.values, color="#3d5a80")
        axes.set(title=f"Rows by {column}"[:80], xlabel="rows")
    elif amount:
        axes.hist(rows[amount].map(number).dropna(), bins=40, color="#3d5a80")
        axes.set(title=amount[:80], ylabel="rows")
    else:
        axes.bar([name[:20] for name in rows.columns], [(rows[name] != "").sum() for name in rows.columns], color="#3d5a80")
        axes.set(title="Filled values by column")
        axes.tick_params(axis="x", rotation=60)
    save(figure, axes)


def save(figure, axes):
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig("chart.png")


main()
