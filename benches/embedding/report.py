"""The tables of benches/embedding.py: its JSON on stdin, Markdown on stdout.

Every figure is one of the JSON or a ratio of two, so `report.py < benches/results/embedding.json` gives the stored
page again.
"""

from __future__ import annotations

import json
import sys
from typing import Any

Figures = dict[str, Any]


def markdown(report: Figures) -> str:
    layers, static = report["texts"]["layers"], report["texts"]["static"]
    made = [f"{name} {f['seconds']:.0f} s" for name, f in report["made"].items() if "seconds" in f]
    disturbed = any(f.get("waited", 0) >= report["disturbed"] for f in report["rows"])
    miscounted = [f["label"] for f in report["rows"] if not f.get("counts_alike", True)]
    per_token = layers["flops"] / layers["tokens"] / 1e6
    lines = [
        ", ".join(f"{package} {number}" for package, number in report["versions"].items()),
        report["machine"],
        f"{report['model']}, at most {report['max_length']} tokens; {report['data']}: first {layers['texts']:,}"
        f" distinct texts, {layers['tokens']:,} tokens ({per_token:.1f} MFLOP each); static engines and the tokenizer:"
        f" {static['texts']:,} texts, {static['tokens']:,} tokens.",
        f"Medians of {report['passes']} passes, each a process of its own, in turn; tokenizing is in all times.",
        "",
        *speed_table(report),
        *threads_table(report),
        *(fidelity_table(report) if report["fidelity"] else []),
        "",
    ]
    lines += ["Made before the start, not in the times: " + ", ".join(made) + "."] if made else []
    if report["fidelity"]:
        lines.append(
            "Prompts: cosine of the first 5,000, top-10 of the first 2,500. V: V-measure of scikit-learn's k-means told"
            f" the true k, n_init 1, mean of {report['seeds']} seeds."
        )
    if disturbed:
        share = f"{report['disturbed']:.0%}"
        lines.append(f"\\* every pass waited for a CPU at least {share} of its time: no ratio to one that did not.")
    lines += ["Counts tokens differently: " + "; ".join(miscounted) + "."] if miscounted else []
    return "\n".join(lines)


def speed(f: Figures, report: Figures) -> str:
    return f"{f['tokens_per_s']:,.0f}" + (" \\*" if f["waited"] >= report["disturbed"] else "")


def cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def speed_table(report: Figures) -> list[str]:
    lines = [
        f"| threads: {report['threads'][0]} | texts/s | tokens/s | useful GFLOP/s | to OpenVINO bf16 |"
        " to sentence-transformers | peak RSS MB | above loaded MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for f in report["rows"]:
        if f["threads"] != report["threads"][0]:
            continue
        if "reason" in f:
            lines.append(f"| {f['label']} | not available: {f['reason'].replace('|', '/')} | | | | | | |")
            continue
        label = f"{f['label']} ({f['detail']})" if f["detail"] else f["label"]
        cells = [f"{f['texts_per_s']:,.1f}", speed(f, report), cell(f["gflops"], ".0f")]
        cells += [cell(f["to_goal"], ".2f"), cell(f["to_reference"], ".2f")]
        cells += [f"{f['peak_mb']:,.0f}", f"{f['above_load_mb']:,.0f}"]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def threads_table(report: Figures) -> list[str]:
    speeds = {(f["row"], f["threads"]): f for f in report["rows"]}
    lines = []
    for f in report["rows"]:
        if f["threads"] == report["threads"][0]:
            continue
        one = speeds[f["row"], report["threads"][0]]
        if "reason" in f:
            lines.append(f"| {f['label']} | {f['threads']} | not available: {f['reason'].replace('|', '/')} | | |")
        elif "reason" not in one:
            alike = (f["waited"] < report["disturbed"]) == (one["waited"] < report["disturbed"])
            ratio = cell(f["tokens_per_s"] / one["tokens_per_s"] if alike else None, ".2f")
            lines.append(f"| {f['label']} | {f['threads']} | {speed(one, report)} | {speed(f, report)} | {ratio} |")
    head = f"| more threads | threads | tokens/s with {report['threads'][0]} | tokens/s | ratio |"
    return ["", head, "|---|---:|---:|---:|---:|", *lines] if lines else []


def fidelity_table(report: Figures) -> list[str]:
    found = report["fidelity"]
    if "reason" in found:
        return ["", f"Fidelity: not available: {found['reason']}"]
    names = list(found["sets"])
    scored = [name for name in names if any("v_measure" in f for f in found["sets"][name].values())]
    heads = [f"cosine {name}: mean / worst" for name in names] + [f"top-10 {name}" for name in names]
    heads += [f"V {name}" for name in scored]
    lines = ["", "| against fp32 | " + " | ".join(heads) + " |", "|---" + "|---:" * len(heads) + "|"]
    labels = {f["row"]: f["label"] for f in report["rows"] if f["threads"] == report["threads"][0]}
    for row in found["sets"][names[0]]:
        of = {name: found["sets"][name][row] for name in names}
        cells = [f"{cell(f.get('mean_cosine'), '.6f')} / {cell(f.get('worst_cosine'), '.6f')}" for f in of.values()]
        cells += [f"{f['overlap']:.4f}" for f in of.values()] + [f"{of[name]['v_measure']:.4f}" for name in scored]
        lines.append(f"| {labels.get(row, row)} | " + " | ".join(cells) + " |")
    return lines + [f"| {labels.get(row, row)} | not available: {reason} |" for row, reason in found["reasons"].items()]


if __name__ == "__main__":
    print(markdown(json.load(sys.stdin)))
