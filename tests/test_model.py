"Parity with the published implementation: every number here was produced by it (tests/fixtures/README.md)."

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from timemoe_lab.config import InputError
from timemoe_lab.model import forecast, from_published, published_names
from timemoe_lab.moe import load_balancing_loss
from timemoe_lab.train import forecast_loss

FIXTURES = Path(__file__).parent / "fixtures"
CASES = [
    ("tiny_moe_4heads", "plain"),
    ("tiny_moe_4heads", "lossmask"),
    ("tiny_moe_4heads", "leftpad"),
    ("tiny_moe_4heads", "rightpad"),
    ("tiny_moe_h1_gqa", "aux_on"),
    ("tiny_moe_h1_gqa", "aux_off"),
    ("tiny_dense_h1", "plain"),
    ("tiny_dense_h1", "lossmask"),
]


@pytest.fixture(scope="module")
def expected():
    return {name: load_file(FIXTURES / name / "expected.safetensors") for name in {n for n, _ in CASES}}


def _case(expected, name, case):
    return {k.removeprefix(f"{case}/"): v for k, v in expected[name].items() if k.startswith(f"{case}/")}


def _run(name, want):
    model = from_published(FIXTURES / name)
    keep = want.get("attention_mask")
    return model, model(want["input_ids"], routing=True, keep=None if keep is None else keep.bool())


@pytest.mark.parametrize(("name", "case"), CASES)
def test_hidden_states_routers_and_heads_match_the_published_model(expected, name, case):
    want = _case(expected, name, case)
    _, out = _run(name, want)
    kept = want.get("attention_mask", torch.ones(2, 96)).bool()  # fully padded rows are not defined there
    assert torch.allclose(out.hidden[kept], want["final_hidden"][kept], atol=2e-5, rtol=0)
    for h, head in out.forecast.items():
        assert torch.allclose(head[kept], want[f"pred.h{h}"][kept], atol=2e-5, rtol=0)
    logits = [k for k in want if k.startswith("router_logits")]
    assert len(out.router_logits) == len(logits)
    for i, ours in enumerate(out.router_logits):
        assert torch.allclose(ours[kept], want[f"router_logits.{i}"].view_as(ours)[kept], atol=2e-5, rtol=0)


def _losses(want, out, top_k):
    valid = want.get("loss_masks", torch.ones(2, 96)).bool()
    heads = {}
    for h, ahead in out.forecast.items():
        if (
            "attention_mask" in want
        ):  # the published loss reads undefined rows for h > 1
            ahead = torch.where(want["attention_mask"].bool().unsqueeze(-1), ahead, want[f"pred.h{h}"])
        if "loss_masks" not in want:  # the published code pads with zeros and counts them: done here by hand
            target = torch.cat([want["labels"], torch.zeros(2, h - 1)], dim=1).unfold(1, h, 1)
            heads[h] = torch.nn.functional.huber_loss(ahead, target, delta=2.0)
        else:
            heads[h] = forecast_loss({h: ahead}, want["labels"], valid=valid, delta=2.0, weights=(1.0,))
    keep = want.get("attention_mask")
    keep = None if keep is None else keep.bool()
    aux = load_balancing_loss(out.router_logits, top_k=top_k, valid=keep, pooled=True) if out.router_logits else None
    return heads, aux


@pytest.mark.parametrize(("name", "case"), CASES)
def test_losses_and_gradients_match_the_published_model(expected, name, case):
    want = _case(expected, name, case)
    model, out = _run(name, want)
    heads, aux = _losses(want, out, model.config.top_k)
    for h, loss in heads.items():
        assert loss.item() == pytest.approx(want[f"head_loss.h{h}"].item(), rel=1e-6)
    total = torch.stack(list(heads.values())).mean()
    if "aux_loss_unscaled" in want and aux is not None:
        assert aux.item() == pytest.approx(want["aux_loss_unscaled"].item(), rel=1e-6)
    if aux is not None and case != "aux_off":
        total = total + 0.02 * aux
    assert total.item() == pytest.approx(want["loss_total"].item(), rel=1e-6)
    if case == "leftpad":  # the published gradient holds a share of those undefined rows
        return
    total.backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(want["grad_norm_all"].item(), rel=1e-5)
    ours = dict(model.named_parameters())
    checked = 0
    for name_, parts in published_names(model.config).items():
        if all(f"grad:{p}" in want for p in parts):
            theirs = torch.cat([want[f"grad:{p}"] for p in parts]).view_as(ours[name_])
            assert torch.allclose(ours[name_].grad, theirs, atol=1e-6, rtol=0), name_
            checked += 1
    assert checked > 0


@pytest.mark.parametrize("name", ["tiny_moe_4heads", "tiny_moe_h1_gqa", "tiny_dense_h1"])
def test_forecast_follows_the_published_horizon_schedule(expected, name):
    model = from_published(FIXTURES / name)
    plain = "aux_on" if name == "tiny_moe_h1_gqa" else "plain"
    generated = {int(k.removeprefix("generate/new")): v for k, v in expected[name].items() if k.startswith("generate/")}
    for n, want in generated.items():
        assert torch.allclose(forecast(model, expected[name][f"{plain}/input_ids"], n), want, atol=2e-5, rtol=0)
    assert generated or name != "tiny_moe_4heads"


def test_a_forward_pass_leaves_the_input_as_it_was(expected):
    x = expected["tiny_moe_4heads"]["plain/input_ids"].clone()
    model = from_published(FIXTURES / "tiny_moe_4heads")
    first = model(x).hidden
    assert x.shape == (2, 96) and torch.equal(x, expected["tiny_moe_4heads"]["plain/input_ids"])
    assert torch.equal(model(x).hidden, first)


def test_targets_past_the_end_do_not_count():
    ahead = {4: torch.zeros(1, 6, 4)}
    target = torch.ones(1, 6)
    loss = forecast_loss(ahead, target, valid=torch.ones(1, 6, dtype=torch.bool), delta=10.0, weights=(1.0,))
    assert loss.item() == 0.5  # only true targets, each with an error of 1; a zero past the end would lower it


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, fault):
    source = FIXTURES / "tiny_moe_4heads"
    tensors = load_file(source / "model.safetensors")
    if fault == "missing":
        tensors.pop("model.norm.weight")
    elif fault == "extra":
        tensors["model.surprise"] = torch.ones(1)
    else:
        tensors["model.norm.weight"] = torch.ones(7)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((source / "config.json").read_text())
    with pytest.raises(InputError, match="model.norm.weight|model.surprise"):
        from_published(tmp_path)
