# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What a CUDA graph repeats; the graphs themselves where there is a GPU."""

import pytest
import torch
from support.trainer import cps, trainer, weights

from scdl_components.engines.cuda_graph import GraphedLoss
from scdl_components.errors import SettingError
from scdl_components.hosts import DHC, Supervised
from scdl_components.losses import CDBALoss, DiceCELoss, GACELoss, SACLoss, SCDLLoss
from scdl_components.proxies import ProxyBank

HOSTS = {
    "cps": cps,
    "dhc": lambda: DHC({"dice_ce": DiceCELoss()}, DiceCELoss(), 2),
    "supervised": lambda: Supervised({"ga_ce": GACELoss()}),
}
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def scdl() -> SCDLLoss:
    bank = ProxyBank(2, 2, embed_dim=8)
    return SCDLLoss(CDBALoss(bank), SACLoss(bank))


@pytest.mark.parametrize("host", HOSTS)
def test_losses_follow_an_iteration_that_is_a_tensor_as_they_follow_a_number(host):
    engine = trainer(max_epochs=10, host=HOSTS[host](), scdl=scdl())
    engine.state.max_epochs, engine.state.epoch_length = 10, 3
    images, label = torch.rand(2, 1, 16, 16, 16), torch.randint(2, (1, 1, 16, 16, 16))
    state = {name: value.clone() for name, value in engine.network_with_loss.state_dict().items()}

    def losses(iteration):
        engine.network_with_loss.load_state_dict(state)
        torch.manual_seed(0)
        return engine._losses(images, label, iteration)

    assert engine.loss_function.host.repeatable
    for iteration in (0, 17):
        (loss, (terms, _)), (expected, (its_terms, _)) = losses(torch.tensor(float(iteration))), losses(iteration)
        torch.testing.assert_close(loss, expected)
        weights, its_weights = (
            {name: float(term.weight) for name, term in each.items()} for each in (terms, its_terms)
        )
        assert weights == pytest.approx(its_weights)


def test_a_cpu_has_no_graph():
    assert trainer().graphed_loss is None


@pytest.mark.parametrize("dtype, needed", [(torch.float16, True), (torch.bfloat16, False)])
def test_a_graph_knows_before_the_run_whether_gradients_are_scaled(dtype, needed):
    """MONAI makes the scaler when a run starts, and a recorded loss is not scaled."""
    assert trainer(amp=True, amp_kwargs={"dtype": dtype}).needs_scaler == needed
    assert not trainer(amp_kwargs={"dtype": dtype}).needs_scaler


@gpu
def test_float16_has_no_graph():
    assert trainer(device="cuda:0", amp=True, amp_kwargs={"dtype": torch.float16}).graphed_loss is None


@gpu
@pytest.mark.parametrize("host", HOSTS)
def test_a_training_is_the_same_with_a_graph(host):
    def trained(cuda_graph):
        engine = trainer(max_epochs=4, host=HOSTS[host](), scdl=scdl(), device="cuda:0", cuda_graph=cuda_graph)
        assert (engine.graphed_loss is not None) == cuda_graph
        start = weights(engine)
        engine.run()
        return weights(engine) - start, float(engine.state.output[0]["loss"])

    (step, loss), (expected, its_loss) = trained(True), trained(False)
    assert loss == pytest.approx(its_loss, rel=1e-3)
    assert (step - expected).norm() < 0.01 * expected.norm()


@gpu
def test_what_waits_for_the_gpu_is_refused_with_the_way_out():
    weight = torch.ones(2, device="cuda", requires_grad=True)
    graphed = GraphedLoss(lambda x: ((weight * x).sum() * float(x.sum()), None), [weight], [])
    with pytest.raises(SettingError, match="cuda_graph False"):
        graphed(torch.ones(2, device="cuda"))


@gpu
def test_results_are_the_callers_and_other_shapes_are_not_taken():
    weight = torch.ones(2, device="cuda", requires_grad=True)
    graphed = GraphedLoss(lambda x: ((weight * x).sum(), {"double": 2 * x}), [weight], [])
    first = graphed(torch.ones(2, device="cuda"))
    second = graphed(torch.full((2,), 3.0, device="cuda"))
    assert [float(first[0]), float(second[0])] == [2, 6]
    assert first[1]["double"].tolist() == [2, 2] and weight.grad.tolist() == [3, 3]
    assert not graphed.takes(torch.ones(3, device="cuda"))
