"""What the figures of `./x bench cpu` mean: ratios of the same round, medians, goals. No program is run here."""
import dataclasses
import statistics

EIGHT_BIT_OR_FLOAT = ("F32", "F16", "BF16", "Q8_0")


def known(values):
    return [v for v in values if v is not None]


def median(values):
    values = known(values)
    return statistics.median(values) if values else None


def ratio(ours, theirs):
    """Median of the ratios of the same round: a drift of the machine hits both sides of each."""
    return median([a / b for a, b in zip(ours, theirs) if a is not None and b])


def better(peers):
    """Name of the series with the highest median; None if nothing was measured."""
    measured = {name: median(values) for name, values in peers.items() if median(values) is not None}
    return max(measured, key=measured.get) if measured else None


def worth_running(first_round, keep=0.85):
    """Of several builds of a peer those that may still be its best: within `keep` of the best figure of any kind.
    `first_round`: {build: {figure: value}}; a build that measured nothing goes."""
    kept = set()
    for figure in {name for figures in first_round.values() for name in figures}:
        best = max((figures.get(figure) or 0 for figures in first_round.values()), default=0)
        kept |= {build for build, figures in first_round.items() if best and (figures.get(figure) or 0) >= keep * best}
    return kept


@dataclasses.dataclass
class Check:
    """One number held against its goal."""
    what: str
    value: float
    goal: float
    at_least: bool = True

    @property
    def reached(self):
        if self.value is None or self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def text(self):
        if self.reached is None:
            return f"{self.what} not measured"
        return f"{self.what} {number(self.value)} [{'≥' if self.at_least else '≤'} {number(self.goal)}]"


@dataclasses.dataclass
class Row:
    work: str
    model: str
    unit: str
    ours: list
    peers: dict = dataclasses.field(default_factory=dict)   # {name: values per round}
    share: list = dataclasses.field(default_factory=list)   # of the physical limit, per round
    checks: list = dataclasses.field(default_factory=list)

    @property
    def verdict(self):
        seen = [check.reached for check in self.checks]
        if False in seen:
            return "missed"
        if not seen or None in seen:
            return "not judged"
        return "reached"


def number(value):
    """Three digits."""
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def of_family(peers, family):
    return {name: values for name, values in peers.items() if name.split()[0] == family}


def against(row, what, goal, family=None):
    """The check that `row` is `goal` times the best build of `family` (or of all peers)."""
    peers = row.peers if family is None else of_family(row.peers, family)
    name = better(peers)
    return Check(f"x {what}", ratio(row.ours, peers[name]) if name else None, goal)


def judge_prefill(row, quantization, avx2=False, default_model=False, long=False):
    if long:
        row.checks.append(against(row, "ik", 1.7, "ik"))
    elif avx2:
        row.checks.append(against(row, "better peer", 1.2))
    elif default_model:
        row.checks.append(against(row, "ik", 1.5, "ik"))
    elif quantization == "BF16":
        rtr = {name: values for name, values in row.peers.items() if name.endswith("-rtr")}
        name = better(rtr)
        row.checks += [against(row, "llama.cpp", 1.8, "llama.cpp"),
                       Check("x ik -rtr", ratio(row.ours, rtr[name]) if name else None, 1.0)]
    elif quantization in ("F16", "F32"):
        row.checks += [against(row, "llama.cpp", 1.0, "llama.cpp"), Check("of the f32 peak", median(row.share), 0.75)]
    else:
        row.checks.append(against(row, "better peer", 1.5))


def judge_decode(row, quantization, avx2=False, default_model=False):
    if avx2:
        row.checks.append(against(row, "better peer", 1.0))
        return
    if default_model:
        # 1.5 x ik or 85 % of the bandwidth, whichever is less: one of the two is enough.
        by_ratio, by_share = against(row, "ik", 1.5, "ik"), Check("of the bandwidth", median(row.share), 0.85)
        row.checks.append(by_share if by_share.reached and not by_ratio.reached else by_ratio)
        return
    row.checks += [Check("of the bandwidth", median(row.share), 0.9 if quantization in EIGHT_BIT_OR_FLOAT else 0.8),
                   against(row, "better peer", 1.0)]


def judge_deep(row, f16_row=None):
    row.checks += [against(row, "llama.cpp", 2.0, "llama.cpp"), against(row, "ik", 1.3, "ik")]
    if f16_row is not None:
        row.checks.append(Check("x its own f16", ratio(row.ours, f16_row.ours), 1.0))


def judge_batch(row, sequences):
    row.checks.append(against(row, "llama-batched-bench", 2.5 if sequences <= 8 else 3.0, "llama.cpp"))


def judge_start(row, seconds_to_read_once):
    row.checks.append(Check("s, reading the file once plus 0.5", median(row.ours), seconds_to_read_once + 0.5, at_least=False))


def judge_below(row, what, goal):
    row.checks.append(Check(what, median(row.ours), goal, at_least=False))


def judge_share(row, what, goal):
    row.checks.append(Check(what, median(row.share), goal))


def markdown(rows, facts, notes):
    """The table. `facts`: lines above it; `notes`: lines below."""
    out = [f"- {line}" for line in facts] + ["", "| work | model | Kvasir: median (best) | of the limit | peers: median | goal | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        values = known(row.ours)
        best = (max if row.unit.endswith("/s") else min)(values, default=None)
        share = median(row.share)
        peers = ", ".join(f"{name} {number(median(series))}" for name, series in row.peers.items() if median(series) is not None)
        out.append(f"| {row.work} | {row.model} | {number(median(values))} ({number(best)}) {row.unit} | {'' if share is None else f'{100 * share:.0f} %'} "
                   f"| {peers} | {'; '.join(check.text() for check in row.checks)} | {row.verdict} |")
    judged = [row.verdict for row in rows]
    out += ["", f"{judged.count('reached')} reached, {judged.count('missed')} missed, {judged.count('not judged')} not judged."]
    return "\n".join(out + ([""] + [f"- {line}" for line in notes] if notes else [])) + "\n"
