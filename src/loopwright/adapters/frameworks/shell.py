"""The class around a user's own object in a package, pickled whole: it is loaded without us."""

__all__ = ["Shell"]


class _NoHints:
    input = None
    output = None


class Shell:
    """Has what MLflow asks of a Python model, and calls the object's `predict`, or the object itself."""

    predict_type_hints = _NoHints()

    def __init__(self, model):  # type: ignore[no-untyped-def]  # pickled by value: annotations would bring typing along
        self.model = model

    def load_context(self, context):  # type: ignore[no-untyped-def]  # MLflow's own form
        """Nothing is to be loaded beside."""

    def _get_type_hints(self):  # type: ignore[no-untyped-def]  # MLflow 2 asks for it
        return self.predict_type_hints

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow's own form
        """What the object says of the rows."""
        asked = getattr(self.model, "predict", self.model)
        return asked(model_input)
