# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The phantom's mean anatomy in millimetres, and the attenuation of its tissues in HU.

The origin lies in the middle of the trunk at the height of the kidneys; +x right, +y anterior, +z superior. Positions
and sizes are those of an adult; the anatomy of a case (``anatomy.py``) is drawn around them.
"""

from dataclasses import dataclass

SYNAPSE_ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic veins",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)
AMOS_ORGANS = (*SYNAPSE_ORGANS[:9], *SYNAPSE_ORGANS[10:], "duodenum", "bladder", "prostate/uterus")
KNOWN_ORGANS = (*SYNAPSE_ORGANS, *AMOS_ORGANS[-3:])

# how often an organ has been removed or never was there; the two kidneys are never both absent
ABSENCE = {"gallbladder": 0.10, "spleen": 0.03, "one kidney": 0.04, "prostate/uterus": 0.04}


@dataclass(frozen=True)
class Ball:
    """An ellipsoid: centre, semi-axes (mm), and its turns about x, y and z (degrees)."""

    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Pipe:
    """A tube through points given as (x, y, z, radius), mm."""

    through: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Part:
    """One organ or tissue.

    Args:
        name: an organ of ``KNOWN_ORGANS``, or any other word for what is drawn but never labeled.
        tissue: row of ``HU``.
        solids: what it consists of; ``carved`` is taken away from it.
        wall: thickness (mm) beyond which it is filled with ``content``, another tissue (0: solid throughout).
        fat: thickness (mm) of the fat it is bedded in.
        blend: width (mm) over which its solids flow into each other.
        below_diaphragm: cut off at the abdominal wall and the diaphragm.
        within: the organ it is seen in only, and whose label it keeps.
        gas: chance that the upper part (in a supine patient the anterior one) of its content is gas.
        shift, size, turn: standard deviations between cases: mm, relative length, degrees.
    """

    name: str
    tissue: str
    solids: tuple[Ball | Pipe, ...]
    carved: tuple[Ball, ...] = ()
    wall: float = 0.0
    content: str = ""
    fat: float = 0.0
    blend: float = 0.0
    below_diaphragm: bool = False
    within: str = ""
    gas: float = 0.0
    shift: float = 3.0
    size: float = 0.05
    turn: float = 4.0


# contrast phase: none, arterial, portal venous, delayed, with their chances
PHASES = {"none": 0.15, "arterial": 0.15, "portal venous": 0.5, "delayed": 0.2}
HU = {
    "liver": (54, 68, 106, 90),
    "spleen": (48, 104, 114, 93),
    "kidney cortex": (34, 128, 132, 112),
    "kidney medulla": (30, 68, 116, 106),
    "pancreas": (42, 92, 94, 78),
    "adrenal": (30, 62, 72, 60),
    "gut wall": (42, 74, 88, 76),
    "gut content": (30, 30, 30, 30),
    "bile": (10, 10, 10, 12),
    "urine": (6, 6, 8, 40),
    "bladder wall": (40, 55, 68, 64),
    "pelvic organ": (42, 64, 88, 84),
    "aorta": (42, 280, 150, 108),
    "vena cava": (40, 78, 124, 104),
    "portal vein": (42, 84, 152, 106),
    "hepatic vessel": (42, 74, 150, 104),
    "heart": (42, 230, 145, 106),
    "muscle": (54, 60, 66, 64),
    "node": (40, 60, 80, 72),
    "bone": (420, 425, 430, 430),
    "marrow": (160, 165, 170, 170),
    "fat": (-104, -104, -104, -104),
    "lung": (-840, -840, -840, -840),
    "gas": (-950, -950, -950, -950),
}


def _mirrored(name: str, tissue: str, solids: tuple[Ball | Pipe, ...], **kwargs) -> tuple[Part, Part]:
    """Make the part as given (the patient's right) and its mirror image."""
    left: list[Ball | Pipe] = []
    for solid in solids:
        if isinstance(solid, Ball):
            (x, y, z), (a, b, c) = solid.center, solid.tilt
            left.append(Ball((-x, y, z), solid.radii, (a, -b, -c)))
        else:
            left.append(Pipe(tuple((-x, y, z, r) for x, y, z, r in solid.through)))
    return Part(f"right {name}", tissue, solids, **kwargs), Part(f"left {name}", tissue, tuple(left), **kwargs)


# fmt: off
_BONES = (
    Part("spine", "bone", (Pipe(((0, -66, -150, 20), (0, -63, -60, 20), (0, -66, 60, 18), (0, -70, 200, 17))),),
         wall=3, content="marrow", shift=2, turn=0),
    Part("spinous processes", "bone", (Pipe(((0, -104, -150, 5), (0, -104, 200, 5))),), shift=1, turn=0),
    Part("spinal canal", "node", (Pipe(((0, -88, -150, 8), (0, -88, 200, 7))),), shift=1, turn=0),
    Part("sacrum", "bone", (Ball((0, -75, -195), (48, 18, 50), (-20, 0, 0)),), wall=3, content="marrow", shift=2),
    *_mirrored("ilium", "bone", (Ball((95, -40, -150), (9, 48, 48), (0, 25, 25)),), wall=3, content="marrow", shift=2),
    *_mirrored("femur", "bone", (Ball((88, -5, -235), (24, 24, 24)),), wall=3, content="marrow", shift=2),
    *(
        rib
        for i in range(7)
        for rib in _mirrored(
            f"rib {i}",
            "bone",
            (Pipe(((28, -98, 160 - 27 * i, 5), (95, -88, 145 - 27 * i, 5), (143, -30, 118 - 27 * i, 5),
                   (140, 25, 98 - 27 * i, 5), (100, 74, 92 - 27 * i, 5))),),
            shift=1, turn=0, size=0.02,
        )
    ),
)
_MUSCLES = (
    *_mirrored("erector spinae", "muscle", (Pipe(((36, -98, -160, 20), (38, -98, 0, 21), (34, -100, 200, 15))),)),
    *_mirrored("psoas", "muscle", (Pipe(((24, -58, 12, 6), (36, -58, -45, 16), (48, -45, -120, 20),
                                         (66, -5, -220, 18))),)),
    *_mirrored("crus", "muscle", (Pipe(((10, -40, -40, 4), (17, -42, 20, 5.5), (19, -38, 70, 6))),), shift=1.5),
    *_mirrored("gluteus", "muscle", (Ball((90, -80, -200), (45, 22, 60)),)),
)
_GUT = {"wall": 2.5, "content": "gut content", "below_diaphragm": True, "shift": 6, "turn": 5, "fat": 2}
_BOWEL = (
    Part("ascending colon", "gut wall", (Pipe(((98, -8, -130, 24), (106, -20, -80, 22), (100, 8, -52, 22))),),
         gas=0.6, **_GUT),
    Part("transverse colon", "gut wall", (Pipe(((92, 38, -52, 19), (35, 66, -66, 19), (-40, 62, -55, 18),
                                                (-95, 25, -20, 17), (-108, -2, 5, 16))),), gas=0.8, **_GUT),
    Part("descending colon", "gut wall", (Pipe(((-112, -25, -5, 14), (-113, -42, -70, 14), (-95, -15, -140, 14),
                                                (-50, 5, -175, 14), (-10, -35, -180, 14))),), gas=0.4, **_GUT),
    Part("rectum", "gut wall", (Pipe(((-5, -40, -185, 15), (0, -50, -215, 17), (0, -42, -255, 13))),),
         gas=0.4, **_GUT),
    Part("jejunum", "gut wall", (Pipe(((-28, 18, -38, 11), (-62, 30, -28, 12), (-82, 20, -52, 12), (-48, 38, -60, 11),
                                       (-20, 45, -72, 11))),), gas=0.2, **_GUT),
    Part("mid ileum", "gut wall", (Pipe(((-60, 0, -95, 12), (-20, 28, -88, 11), (25, 35, -98, 12), (52, 5, -92, 12),
                                         (40, -12, -118, 12), (-10, 5, -122, 12), (-52, 22, -118, 11))),),
         gas=0.2, **_GUT),
    Part("distal ileum", "gut wall", (Pipe(((-45, 45, -142, 12), (5, 50, -150, 11), (45, 38, -142, 12),
                                            (62, 20, -160, 11), (20, 15, -158, 11))),), gas=0.2, **_GUT),
)
_VESSELS = (
    *_mirrored("iliac artery", "aorta", (Pipe(((5, -24, -97, 6), (30, -22, -130, 5.5), (55, 0, -190, 5),
                                               (62, 25, -250, 5))),)),
    *_mirrored("iliac vein", "vena cava", (Pipe(((12, -34, -100, 7), (34, -32, -140, 6.5), (52, -10, -195, 6),
                                                 (55, 15, -250, 6))),)),
    Part("superior mesenteric artery", "aorta", (Pipe(((-8, -20, 14, 3.5), (-7, -3, -5, 3.5), (-5, 8, -60, 3))),)),
    Part("superior mesenteric vein", "portal vein", (Pipe(((8, 4, 2, 5), (7, 8, -30, 4.5), (10, 18, -70, 4))),)),
    Part("celiac trunk", "aorta", (Pipe(((-8, -20, 28, 3.5), (-4, -2, 32, 3), (28, 8, 38, 2.5))),)),
    *_mirrored("renal artery", "aorta", (Pipe(((2, -32, -4, 3), (26, -40, -5, 2.8), (50, -54, -4, 2.5))),)),
    Part("right renal vein", "vena cava", (Pipe(((22, -24, -6, 4.5), (52, -52, -8, 4))),)),
    Part("left renal vein", "vena cava", (Pipe(((18, -22, -4, 4.5), (-8, -13, -3, 3.5), (-32, -32, 0, 4.5),
                                                (-52, -54, 0, 4))),)),
    *_mirrored("lymph node", "node", (Ball((27, -30, 6), (5, 4, 7)), Ball((24, -28, -55), (4, 4, 6)))),
    Part("mesenteric nodes", "node", (Ball((-32, 18, -10), (5, 5, 6)), Ball((18, 20, -45), (5, 4, 6)),
                                      Ball((-45, -10, 22), (4, 4, 5)))),
)
_CHEST = (
    Part("mediastinum", "fat", (Ball((-2, -18, 165), (38, 42, 120)),)),
    Part("heart", "heart", (Ball((-22, 34, 128), (56, 40, 38), (0, 20, 25)),), wall=10, content="heart"),
)
_LIVER = (
    Part("liver", "liver",
         (Ball((76, -4, 22), (62, 82, 86), (0, -8, 0)), Ball((8, 42, 50), (72, 36, 34), (0, 12, 12))),
         carved=(Ball((20, -2, -42), (52, 62, 52)), Ball((8, -45, 20), (36, 30, 60))),
         blend=18, below_diaphragm=True, shift=5, size=0.045),
    Part("hepatic vessels", "hepatic vessel",
         (Pipe(((24, -14, 78, 5), (62, -10, 66, 3.5), (105, -20, 40, 2))),
          Pipe(((24, -12, 78, 5), (55, 30, 62, 3.5), (70, 50, 30, 2))),
          Pipe(((22, -8, 78, 4), (5, 30, 62, 3), (-15, 50, 50, 2))),
          Pipe(((56, 10, 40, 4.5), (88, 5, 28, 3), (108, 20, 5, 2))),
          Pipe(((66, 8, 36, 4), (92, -30, 15, 3), (100, -40, -5, 2)))), within="liver"),
)
_OTHER_ORGANS = (
    Part("spleen", "spleen", (Ball((-111, -40, 32), (32, 51, 58), (20, 8, -22)),),
         carved=(Ball((-74, -22, 38), (23, 36, 66)),), fat=2, below_diaphragm=True, shift=4, size=0.08),
    Part("stomach", "gut wall", (Pipe(((-62, -14, 66, 25), (-72, 10, 48, 31), (-64, 38, 12, 28), (-34, 54, -10, 21),
                                       (2, 46, -10, 17), (24, 40, 0, 12))),),
         wall=4, content="gut content", fat=2, below_diaphragm=True, gas=0.8, shift=4, size=0.06),
    Part("duodenum", "gut wall", (Pipe(((32, 40, 0, 10), (49, 28, 2, 11), (53, 8, -15, 10.5), (48, 0, -44, 10.5),
                                        (22, -2, -54, 9.5), (-8, -6, -48, 9.5), (-24, 4, -32, 9.5))),),
         wall=2.5, content="gut content", fat=2, gas=0.2, shift=3),
    Part("right kidney", "kidney cortex", (Ball((69, -56, -14), (27, 26, 54), (8, 10, 25)),),
         carved=(Ball((45, -47, -14), (15, 11, 17)),), wall=8, content="kidney medulla", fat=6, shift=4, size=0.05),
    Part("left kidney", "kidney cortex", (Ball((-68, -58, -2), (27, 26, 55), (8, -10, -25)),),
         carved=(Ball((-44, -49, -2), (15, 11, 17)),), wall=8, content="kidney medulla", fat=6, shift=4, size=0.05),
    Part("pancreas", "pancreas", (Pipe(((27, 8, -28, 10.5), (26, 12, -8, 16), (14, 20, 9, 12), (-12, 22, 17, 12.5),
                                        (-44, 2, 23, 13), (-76, -24, 33, 10.5))),), fat=3, shift=2.5, size=0.06),
    Part("gallbladder", "bile", (Ball((70, 42, -14), (15, 22, 19), (35, 0, -10)),), fat=1, shift=4, size=0.12),
    Part("bladder", "bladder wall", (Ball((0, 30, -200), (39, 31, 33)),), wall=4, content="urine", fat=3, size=0.09),
)
_PROSTATE = Part("prostate/uterus", "pelvic organ", (Ball((0, 10, -243), (24, 17, 18)),), fat=2, size=0.08)
_UTERUS = Part("prostate/uterus", "pelvic organ", (Ball((4, -10, -188), (22, 17, 24), (30, 0, 0)),), fat=2, size=0.08)
_THIN_ORGANS = (
    Part("aorta", "aorta", (Pipe(((-14, -36, 210, 12), (-10, -36, 90, 11.5), (-7, -34, 0, 10), (-3, -30, -96, 9))),),
         fat=2, shift=1.5, size=0.07, turn=1.5),
    Part("inferior vena cava", "vena cava",
         (Pipe(((22, 0, 98, 10.5), (22, -14, 50, 10), (20, -24, 0, 9.5), (15, -32, -98, 9.5))),),
         fat=1, shift=1.5, size=0.07, turn=1.5),
    Part("esophagus", "gut wall", (Pipe(((0, -16, 210, 7.5), (-4, -14, 110, 7.5), (-16, -8, 82, 7.5),
                                         (-42, -8, 66, 8))),), wall=4, content="gut content", gas=0.4, shift=2),
    Part("portal and splenic veins", "portal vein",
         (Pipe(((-90, -36, 36, 3.5), (-50, -16, 26, 4.2), (-14, 5, 17, 4.8), (9, 5, 8, 6))),
          Pipe(((9, 3, -4, 6), (12, 4, 12, 7), (34, 4, 30, 7), (52, 8, 38, 6))),
          Pipe(((48, 8, 37, 5), (38, 26, 48, 4))), Pipe(((50, 8, 38, 5), (70, 2, 40, 4.5)))), fat=1, shift=2),
    Part("right adrenal gland", "adrenal", (Ball((35, -36, 36), (3.1, 11, 17), (0, 5, 10)),
                                            Ball((38, -43, 32), (2.8, 13.5, 14), (0, 8, 35)),
                                            Ball((32, -31, 35), (3.5, 5, 14), (0, 5, 0))), fat=3, shift=2, size=0.06),
    Part("left adrenal gland", "adrenal", (Ball((-35, -36, 36), (2.8, 12, 17), (0, -5, 5)),
                                           Ball((-41, -40, 33), (2.6, 14, 14), (0, -8, -45)),
                                           Ball((-35, -29, 35), (4, 5, 14), (0, -5, 0))), fat=3, shift=2, size=0.06),
)
# fmt: on


def table(female: bool) -> tuple[Part, ...]:
    """List all parts in drawing order: later ones displace earlier ones, thin ones come last."""
    pelvic = _UTERUS if female else _PROSTATE
    return (*_CHEST, *_BONES, *_MUSCLES, *_BOWEL, *_LIVER, *_OTHER_ORGANS, pelvic, *_VESSELS, *_THIN_ORGANS)
