"""Carried out by an environment that has MLflow: a new user's program with `lw.autolog()`.

The first argument is a folder of our libraries, behind MLflow's own; the second `here` or an address.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    libraries, where = sys.argv[1:]
    sys.path.append(libraries)
    import lightgbm
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    import loopwright as lw

    x = np.random.default_rng(1).normal(size=(60, 3))
    y = (x[:, 0] > 0).astype(int)
    face = lw.connect(None if where == "here" else where)
    lw.autolog(experiment="auto", to=face, silent=True)
    LogisticRegression(C=0.5).fit(x, y)
    params = {"objective": "binary", "verbose": -1, "learning_rate": 0.2}
    data = lightgbm.Dataset(x, label=y, free_raw_data=False)
    lightgbm.train(params, data, num_boost_round=5, valid_sets=[data])
    found = face.call("runs.list", experiment="auto")
    told = [
        {
            "state": run.state,
            "params": run.params,
            "metrics": sorted(face.call("runs.show", run_id=run.id).metrics),
            "models": len(run.facts.get("model_outputs", ())),
        }
        for run in found.items
    ]
    sys.stdout.write(json.dumps(told) + "\n")
    face.close()


if __name__ == "__main__":
    main()
