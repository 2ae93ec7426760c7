"""The summed cross-entropy and its gradient against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dialogue_generation_models.data.dataset import IGNORED
from dialogue_generation_models.training.loss import summed_cross_entropy


def scores(rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Give logits [rows, 50], some far from zero, and labels of which some are not learnt."""
    generator = torch.Generator().manual_seed(rows)
    logits = (10 * torch.randn(rows, 50, generator=generator)).to(dtype).requires_grad_()
    labels = torch.randint(0, 50, (rows,), generator=generator)
    labels[::3] = IGNORED
    return logits, labels


@pytest.mark.parametrize("rows", [1, 2, 64, 130])  # less than a part, one, and two and a bit
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_loss_and_gradient_equal_torch(rows: int, dtype: torch.dtype, tolerance: float) -> None:
    logits, labels = scores(rows, dtype)
    theirs = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    (expected,) = torch.autograd.grad(theirs / 7, logits)
    ours = summed_cross_entropy(logits, labels)
    (gradient,) = torch.autograd.grad(ours / 7, logits)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, expected, rtol=tolerance, atol=tolerance / 10)


def test_rows_that_are_not_learnt_have_no_gradient() -> None:
    logits, labels = scores(9, torch.float32)
    summed_cross_entropy(logits, labels).backward()
    assert logits.grad is not None
    assert not logits.grad[labels == IGNORED].any()


def test_no_row_at_all_is_no_loss() -> None:
    logits = torch.zeros(0, 50, requires_grad=True)
    loss = summed_cross_entropy(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0.0


def test_what_is_not_finite_stays_so() -> None:
    logits = torch.zeros(2, 5)
    logits[1, 1] = float("nan")
    assert summed_cross_entropy(logits, torch.tensor([1, 2])).isnan()


def test_inputs_are_left_alone() -> None:
    logits, labels = scores(70, torch.float32)
    before = logits.detach().clone()
    summed_cross_entropy(logits, labels).backward()
    assert torch.equal(logits.detach(), before)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_second_backward_pass_is_refused(keeps: bool) -> None:
    logits, labels = scores(3, torch.float32)
    loss = summed_cross_entropy(logits, labels)
    loss.backward(retain_graph=keeps)
    with pytest.raises(RuntimeError):
        loss.backward()
