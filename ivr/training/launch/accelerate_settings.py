"""Settings of accelerate that come by the environment, where they would overrule the options of `ivr train`.

`accelerate launch` and its configuration file speak to accelerate through variables, which it reads before what it is
given. What runs is what the options say: the variables are taken out, and one that asked for something else is named.
"""

import os
from collections.abc import MutableMapping

from ivr.console import LOG
from ivr.errors import ConfigError

PREFIXES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")
# another kind of run: to go on without it is not what was wanted
KINDS = {
    "ACCELERATE_USE_DEEPSPEED": "give --deepspeed FILE, e.g. slurm/deepspeed/zero2.json",
    "ACCELERATE_USE_FSDP": "ZeRO does the same here: --deepspeed slurm/deepspeed/zero3.json",
    "ACCELERATE_USE_MEGATRON_LM": "it is not possible here",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "it is not possible here",
    "ACCELERATE_USE_SAGEMAKER": "it is not possible here",
}
OPTIONS = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "--gradient-accumulation",
    "ACCELERATE_GRADIENT_CLIPPING": "--max-grad-norm",
    "ACCELERATE_MIXED_PRECISION": "--precision",
    "ACCELERATE_USE_CPU": "--device cpu",
    "ACCELERATE_TORCH_DEVICE": "--device",
    "ACCELERATE_DYNAMO_BACKEND": "--torch-compile",
}
NOTHING = frozenset({"", "no", "none", "false", "0", "1", "default", "info", "warning"})  # values that ask for nothing


def take_settings_out(deepspeed: bool, environment: MutableMapping[str, str] | None = None) -> list[str]:
    """Remove accelerate's variables; returns the names of those that asked for something, which are warned of.

    deepspeed: whether --deepspeed was given. Raises ConfigError where they ask for another kind of run.
    """
    environment = os.environ if environment is None else environment
    for name, mend in KINDS.items():
        given = deepspeed and name == "ACCELERATE_USE_DEEPSPEED"
        if not given and environment.get(name, "").strip().lower() in ("true", "1", "yes", "y", "on", "t"):
            raise ConfigError(
                f"{name}={environment[name]} (of `accelerate launch` or its file) asks for another run: {mend}"
            )
    overruled = []
    for name in sorted(environment):
        if name.startswith(PREFIXES):
            text = environment.pop(name)
            if name not in KINDS and text.strip().lower() not in NOTHING:
                overruled.append(name)
                instead = OPTIONS.get(name)
                how = f"{instead} says what runs" if instead else "`ivr train` has its own options"
                LOG.warning("train: %s=%s is not used: %s", name, text, how)
    return overruled
