import gc

import torch

from cdmllab._util.memory import TensorPeak

MIB = 2**18  # float32 numbers


def test_peak_is_the_most_at_one_time():
    with TensorPeak() as peak:
        a = torch.zeros(4 * MIB)
        del a
        b = torch.zeros(3 * MIB)
        c = torch.zeros(2 * MIB)
        del b, c
    assert peak.mib == 5.0


def test_views_and_in_place_changes_and_earlier_tensors_do_not_count():
    before = torch.ones(8 * MIB)
    with TensorPeak() as peak:
        before.mul_(2.0)
        before[:10].add_(1.0)
        half = before.view(2, -1)[0]
        torch.add(half, half, out=before[MIB * 4 :])
    assert peak.mib == 0.0


def test_tensors_saved_for_backward_count_until_they_are_freed():
    x = torch.ones(MIB, requires_grad=True)
    with TensorPeak() as peak:
        y = (x.exp() * 2.0).exp()  # keeps both exponentials; the product is gone
        z = y.sum()
        del y
    forward = peak.mib
    assert forward == 3.0
    with TensorPeak() as peak:
        z.backward()
    assert 1.0 <= peak.mib <= 3.0
    assert x.grad is not None


def test_custom_functions_are_seen_forward_and_backward():
    class Wasteful(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.zeros(5 * MIB).sum() + x

        @staticmethod
        def backward(ctx, grad):
            return torch.zeros(7 * MIB).sum() * grad

    x = torch.ones((), requires_grad=True)
    with TensorPeak() as peak:
        y = Wasteful.apply(x)
    assert 5.0 <= peak.mib < 5.1
    with TensorPeak() as peak:
        y.backward()
    assert 7.0 <= peak.mib < 7.1


def test_nothing_is_counted_after_the_block():
    with TensorPeak() as peak:
        kept = torch.zeros(MIB)
    other = torch.zeros(4 * MIB)
    del kept, other
    gc.collect()
    assert peak.mib == 1.0
