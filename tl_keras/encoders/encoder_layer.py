"""The hub layer of whichever Keras is active, and the encoder as one inside a model: what of it learns, how texts are tokenized for it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from tl_keras._keras import IS_KERAS_3, find_layer, keras, register, tf_variable
from tl_keras.encoders.blocks import Parts, find_parts
from tl_keras.encoders.cut import cut_encoder
from tl_keras.encoders.layer_common import refuse_outside_strategy
from tl_keras.encoders.resolve import resolve
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError

if IS_KERAS_3:
    from tl_keras.encoders.layer_keras3 import KerasLayer
else:
    from tl_keras.encoders.layer_keras2 import KerasLayer

# Registered here, so that whoever imports the other file does not take its name away.
KerasLayer = register(KerasLayer)


class EncoderLayer:
    """By this the layer of a model's encoder is found, of whatever kind.

    Each has `transfer`, `parts` and `part_weights()`, as `HubEncoderLayer` has.
    """


@keras.saving.register_keras_serializable(package="tl_keras", name="EncoderLayer")
class HubEncoderLayer(EncoderLayer, KerasLayer):
    """The hub layer inside our models; its config also says how texts must be tokenized for it.

    So a model saved as `.keras` and loaded elsewhere still knows its preprocessing, and can predict and export.

    Args:
        handle: folder of the encoder's SavedModel.
        preprocessor: folder of its preprocessing SavedModel; None for text embedding modules, which take strings.
        seq_length: longest input in tokens.
        transfer: what learns: a mode's name or a `Transfer`; by default what `trainable` says.
        layers: use the first so many blocks only; None for all.
        **kwargs: as for `KerasLayer`.
    """

    def __init__(
        self,
        handle: str,
        preprocessor: str | None = None,
        seq_length: int = 128,
        transfer: str | Mapping | Transfer | None = None,
        layers: int | None = None,
        **kwargs,
    ):
        if transfer is not None:
            transfer = Transfer.of(transfer)
            kwargs["trainable"] = transfer.trains_encoder
        super().__init__(handle if layers is None else cut_encoder(resolve(handle), layers), **kwargs)
        self._handle = str(handle)
        self.encoder_folder = str(handle)
        self.layers_kept = layers
        self.preprocessor_folder = preprocessor
        self.seq_length = seq_length
        self.transfer = transfer or Transfer("fine-tune" if self.trainable else "freeze")

    def __call__(self, *args, **kwargs):
        """Run the encoder.

        Raises:
            UserError: it was loaded outside the scope of the active `tf.distribute` strategy. A frozen one too: every replica would
                fetch its weights from the device where they are.
        """
        refuse_outside_strategy(self.name, [tf_variable(weight) for weight in self.weights])
        return super().__call__(*args, **kwargs)

    @property
    def transfer(self) -> Transfer:
        """What learns. Setting it needs a model compiled anew, with a new optimizer: see `tl_keras.set_transfer`."""
        return self._transfer

    @transfer.setter
    def transfer(self, value: str | Transfer) -> None:
        plan = Transfer.of(value)
        # Freezing or training all of it needs no look at the parts.
        frozen = frozenset()
        if plan.top is not None or plan.mode == "gradual" or plan.needs_groups:
            plan.multipliers(self.parts)  # refuses what does not fit this encoder
            learning = plan.learning(self.parts)
            frozen = frozenset(i for part in self.parts.parts if part.name not in learning for i in part.indices)
        self._transfer, self._frozen = plan, frozen
        # Not by assignment: Keras 3 leaves one out that changes nothing, and the marks of the weights with it.
        type(self).trainable.fset(self, plan.trains_encoder)

    @functools.cached_property
    def parts(self) -> Parts:
        """The encoder's trainable variables by part: embeddings, blocks, pooler."""
        return find_parts(resolve(self.encoder_folder), len(self._module_weights()), self.layers_kept)

    def part_weights(self) -> dict[str, list]:
        """The weights of each part, by its name."""
        weights = self._module_weights()
        return {part.name: [weights[i] for i in part.indices] for part in self.parts.parts}

    def _module_weights(self) -> list:
        """The weights that the module calls trainable, in its order, whether they learn now or not."""
        return list(self._trainable_variables if IS_KERAS_3 else self._trainable_weights)

    @KerasLayer.trainable.setter
    def trainable(self, value: bool) -> None:
        """Whether anything in the encoder learns; which parts, is said by `transfer`."""
        KerasLayer.trainable.fset(self, value)
        if IS_KERAS_3:
            # There each weight has its own mark, which this has just set to the same for all.
            for i in getattr(self, "_frozen", ()):
                self._trainable_variables[i].trainable = False

    @property
    def trainable_weights(self) -> list:
        """The weights that learn."""
        weights, frozen = super().trainable_weights, self._frozen_ids()
        return [weight for weight in weights if id(weight) not in frozen] if frozen else weights

    @property
    def non_trainable_weights(self) -> list:
        """The weights that do not learn."""
        weights, frozen = super().non_trainable_weights, self._frozen_ids()
        return [w for w in self._module_weights() if id(w) in frozen] + weights if frozen else weights

    def _frozen_ids(self) -> set[int]:
        # Keras 2 asks the layer which weights learn; Keras 3 the weights themselves.
        if IS_KERAS_3 or not self.trainable or not getattr(self, "_frozen", None):
            return set()
        weights = self._module_weights()
        return {id(weights[i]) for i in self._frozen}

    def get_config(self) -> dict:
        """The constructor's arguments."""
        config = super().get_config()
        config.update(
            preprocessor=self.preprocessor_folder,
            seq_length=self.seq_length,
            transfer=self.transfer.to_config(),
            layers=self.layers_kept,
        )
        return config

    @property
    def position_limit(self) -> int | None:
        """How many positions the encoder has vectors for, as far as its variables tell; None if they do not."""
        for variable in self.variables:
            if "position_embedding" in getattr(variable, "path", variable.name) and len(variable.shape) == 2:
                return int(variable.shape[0])
        return None


def require_model(value) -> None:
    """Refuse what is no Keras model.

    Raises:
        UserError: it is something else: an encoder that no model was built on yet, perhaps, or a handle.
    """
    if not isinstance(value, keras.Model):
        raise UserError(
            f"a Keras model is needed here, not a {type(value).__name__}: build one with text_classifier(encoder, ...) or another builder."
        )


def require_layer(model: keras.Model, kind: type, lacks: str):
    """The first layer of a kind in a model.

    Raises:
        UserError: there is none; `lacks` goes on from the model's name.
    """
    require_model(model)
    layer = find_layer(model, kind)
    if layer is None:
        raise UserError(f"the model {model.name!r} {lacks}.")
    return layer


def find_encoder_layer(model: keras.Model) -> EncoderLayer | None:
    """The encoder layer in a model or in a model inside it; None if there is none."""
    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else model.layers
    return next((layer for layer in layers if isinstance(layer, EncoderLayer)), None)


def encoder_layer_of(model: keras.Model, *, inside: bool = False) -> EncoderLayer:
    """The encoder layer of a model.

    Args:
        model: of one of this package's builders.
        inside: take that of a model inside it, too.

    Raises:
        UserError: there is none.
    """
    require_model(model)
    layer = find_encoder_layer(model) if inside else find_layer(model, EncoderLayer)
    if layer is None:
        raise UserError(
            f"the model {model.name!r} holds no tl_keras encoder{'' if inside else ' to tokenize for'}: build it with text_classifier(...) or "
            "another builder of this package."
        )
    return layer


def modules_inside(model: keras.Model) -> list:
    """The SavedModels that a model holds beside its encoder: they can have tables and assets, which an export must carry along."""
    layers = (layer for layer in model.layers if isinstance(layer, KerasLayer) and not isinstance(layer, EncoderLayer))
    return [layer.resolved_object for layer in layers]
