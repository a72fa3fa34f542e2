"""Write what cfel_fmt, a reader of CrystFEL geometry files nobody here wrote, makes of a file.

    python expect.py asics.geom > asics.json

The files here give no units, which that reader refuses. It and its dependencies are too large to
be installed for the tests, so its answers (version 2.2.0) are kept beside the files.
"""

import json
import sys

from cfel_fmt.geometry import load_crystfel_geometry

PANEL = ["cnx", "cny", "res", "coffset", "data", "dim_structure", "no_index", "max_adu", "mask"]
PANEL += ["fsx", "fsy", "fsz", "ssx", "ssy", "ssz", "clen", "clen_from"]
REGION = [f"{end}_{axis}" for end in ("min", "max") for axis in ("x", "y", "fs", "ss")]
REGION += ["panel", "is_fsss"]

detector, beam, _ = load_crystfel_geometry(sys.argv[1])
print(
    json.dumps(
        {
            "beam": beam,
            "mask": [detector["mask_good"], detector["mask_bad"]],
            "panels": {
                name: {key: panel.get(key) for key in PANEL}
                | {key: panel[f"orig_{key}"] for key in ("min_fs", "max_fs", "min_ss", "max_ss")}
                for name, panel in detector["panels"].items()
            },
            "bad": {
                name: {key: str(region.get(key)) for key in REGION}
                for name, region in detector["bad"].items()
            },
        },
        indent=1,
    )
)
