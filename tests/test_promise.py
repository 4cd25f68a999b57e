"What few healthy recordings promise: draws are disjoint, counted one by one, and judged by what was promised."

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from timemoe_lab.config import tiny
from timemoe_lab.detect.promise import Promise, Share, kept_promise

room = import_module("timemoe_lab.detect.promise")


def test_a_draw_is_judged_by_recordings_that_it_does_not_hold(monkeypatch):
    seen = []

    def fit(trained, kept, **how):
        assert not kept
        seen.append([list(trained), []])

    def judged(evidence, decided, frame, config):
        seen[-1][1].append(evidence)
        return 0.25, float(evidence % 2), 0.0

    monkeypatch.setattr(room, "fit_profile", fit)
    monkeypatch.setattr(room, "decide", lambda fitted, **how: SimpleNamespace(promised=0.2))
    monkeypatch.setattr(room, "_alarmed", judged)
    how = {"space": None, "seen": None, "frame": SimpleNamespace(fs=1.0), "config": tiny(), "draws": 40, "fresh": 5}
    told = []
    kept = kept_promise(list(range(12)), 4, **how, progress=told.append)
    assert told == list(range(1, 41)) and len(seen) == 40
    assert all(len(set(a)) == 4 and len(set(b)) == 5 and not set(a) & set(b) for a, b in seen)
    assert len({tuple(sorted(a)) for a, _ in seen}) > 20  # draws differ
    odd = [np.mean([e % 2 for e in b]) for _, b in seen]
    assert kept.recording.mean == pytest.approx(np.mean(odd)) and kept.sample == Share(0.25, 0.0, 0.25)
    assert kept.recording.error == pytest.approx(np.std(odd) / 40**0.5)
    assert kept.recording.high == pytest.approx(np.quantile(odd, 0.95)) and kept.promised == 0.2 and not kept.is_kept
    assert kept_promise(list(range(12)), 4, **how) == kept
    with pytest.raises(ValueError, match="8 recordings; expected 9 or more"):
        kept_promise(list(range(8)), 4, **how)


def test_a_promise_is_kept_within_two_standard_errors():
    nothing = Share(0.0, 0.0, 0.0)
    kept = [Promise(3, 50, 0.25, nothing, Share(mean, 0.05, 0.5), nothing).is_kept for mean in (0.2, 0.34, 0.36)]
    assert kept == [True, True, False]
    assert Promise(3, 50, 0.25, nothing, Share(0.2, 0.05, 0.5), nothing).row["recording"] == "0.200 ± 0.050 (0.50)"
