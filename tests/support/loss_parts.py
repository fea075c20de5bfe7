# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""One batch and the losses of it, of a rank's part or, where there is one process, of the whole."""

import torch

from scdl_components.distributed import rank, world_size
from scdl_components.losses import CDBALoss, DiceCELoss, GACELoss, GADiceLoss, SACLoss, SCDLLoss
from scdl_components.proxies import ProxyBank

NUM_CLASSES = 5


def batch() -> dict[str, torch.Tensor]:
    """Four labeled and two unlabeled samples, two students; class 3 in two of them alone, class 4 nowhere."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (4, 1, 8, 8, 8), generator=generator)
    label[:2, :, 4:] = 3
    # few values: equal cross entropies, of which the k % hardest take a part
    logits = torch.randint(-2, 3, (2, 6, NUM_CLASSES, 8, 8, 8), generator=generator).double()
    logits += 1e-3 * torch.randn(logits.shape, generator=generator)
    features = torch.randn((2, 6, 4, 8, 8, 8), generator=generator).double()
    return {"label": label, "logits": logits, "features": features}


def samples(unlabeled: str) -> tuple[slice, list[int]]:
    """Labeled and all samples of this rank; "lost": the second half of the unlabeled ones could not be loaded."""
    labeled = slice(0, 4) if world_size() == 1 else slice(2 * rank(), 2 * rank() + 2)
    there_are = {"whole": [[4, 5], [4], [5]], "lost": [[4], [4], []]}[unlabeled]
    return labeled, [*range(4)[labeled], *there_are[0 if world_size() == 1 else 1 + rank()]]


def objective(name: str, label, logits, features, bank: ProxyBank) -> torch.Tensor:
    """Sum of a loss over the students."""
    if name.startswith("scdl"):
        torch.manual_seed(7)  # the same proxy samples on every rank
        name, _, reduction = name.partition(" ")
        scdl = SCDLLoss(CDBALoss(bank, reduction=reduction or "token"), SACLoss(bank), students=1)
        terms = scdl(features[:1], label, 0.5)
        return sum(value for term, (value, _) in terms.items() if name in (term, "scdl_in_all"))
    name, _, weighted = name.partition(" ")
    weights = torch.tensor([0.0, 0.5, 2.0, 5.0, 1.0]) if weighted else None
    losses = {"ga_dice": GADiceLoss(), "ga_ce": GACELoss(top_k=100), "ga_ce_hardest": GACELoss(top_k=10)}
    loss = {**losses, "dice_ce": DiceCELoss()}[name]
    return sum(loss(student[: len(label)], label, weights) for student in logits)


NAMES = [name + kind for name in ("ga_dice", "ga_ce", "ga_ce_hardest", "dice_ce") for kind in ("", " weighted")]
NAMES += ["scdl/separation", "scdl/distance", "scdl/symmetric_kl", "scdl/sac"]
NAMES += ["scdl/unlabeled_separation", "scdl/unlabeled_distance", "scdl/unlabeled_symmetric_kl", "scdl_in_all"]
NAMES += [f"scdl/{term} class" for term in ("e2p", "p2e", "unlabeled_p2e")]
NAMES += [f"scdl/{term} paper" for term in ("e2p", "p2e", "unlabeled_e2p", "unlabeled_p2e")]


def values_and_gradients() -> dict[str, torch.Tensor]:
    """Of every loss its value, gradients of this rank's inputs and of the proxies and the encoder."""
    found = {}
    for unlabeled in ("whole", "lost"):
        labeled, mine = samples(unlabeled)
        for name in NAMES:
            torch.manual_seed(0)
            bank = ProxyBank(4, NUM_CLASSES, embed_dim=8, num_samples=5, dropout=0.0, tau_p2e=0.5).double()
            data = batch()
            logits, features = (data[key][:, mine].requires_grad_() for key in ("logits", "features"))
            value = objective(name, data["label"][labeled], logits, features, bank)
            found[f"{unlabeled}/{name}/value"] = value.detach()
            inputs = {"logits": logits, "features": features, **dict(bank.named_parameters())}
            inputs = {key: tensor for key, tensor in inputs.items() if tensor.requires_grad}
            gradients = torch.autograd.grad(value, list(inputs.values()), allow_unused=True, materialize_grads=True)
            found |= {f"{unlabeled}/{name}/{key}": g for key, g in zip(inputs, gradients)}
    return found
