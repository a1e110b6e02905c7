"""Which files jobs about a dataset, a split or a target read, and which targets there are of a kind."""

from diffmia.captions.texts import CAPTION, NONE
from diffmia.planning import jobs
from diffmia.planning.own_files import planned_inputs


def dataset_inputs(wildcards):
    """Files of a user's own; of a dataset that is made of others those, which the workflow prepares first."""
    spec, record = CONFIG.datasets[wildcards.dataset], f"results/datasets/{wildcards.dataset}/source.json"
    return spec.inputs() if spec.made_of() else planned_inputs(spec.inputs(), record)


def split_inputs(wildcards):
    split = wildcards.split
    return planned_inputs(CONFIG.splits[split].inputs(), f"results/splits/{split}/seed{wildcards.seed}.json")


def target_inputs(wildcards):
    target = wildcards.target
    return planned_inputs(CONFIG.targets[target].inputs(), f"results/targets/{target}/source.json")


def captioner_inputs(wildcards):
    captioner = wildcards.captioner
    return planned_inputs(CONFIG.captioners[captioner].inputs(), f"results/captions/_source/{captioner}.json")


def blind_inputs(wildcards):
    record = f"results/scores/{wildcards.target}/seed{wildcards.seed}/{wildcards.attack}.meta.json"
    return planned_inputs(CONFIG.attacks[wildcards.attack].inputs(), record)


def split_dataset(file):
    """Path of a file of the dataset that a split divides."""

    def get(wildcards):
        return f"results/datasets/{CONFIG.splits[wildcards.split].dataset}/{file}"

    return get


def target_dataset(file):
    """Path of a file of the dataset that a target's split divides."""

    def get(wildcards):
        return f"results/datasets/{CONFIG.split_of(wildcards.target).dataset}/{file}"

    return get


def target_images(wildcards):
    """Images of a target that is asked about pixels; none of one that is asked about latents."""
    return [] if CONFIG.targets[wildcards.target].latent else target_dataset("images.npy")(wildcards)


def target_latents(wildcards):
    """Latents of all samples, in shards, of a target that is asked about them: those of the training that made it."""
    spec = CONFIG.targets[wildcards.target]
    folder = f"results/latents/{CONFIG.trained_as(wildcards.target)}/seed{wildcards.seed}"
    return [f"{folder}/{shard}of{spec.shards}.npy" for shard in range(spec.shards)] if spec.latent else []


def target_embeddings(wildcards):
    """Embeddings of all that a target is told in a pass."""
    told = jobs.conditions_of(CONFIG, wildcards.answers, wildcards.target)
    return [f"results/embeddings/{wildcards.target}/seed{wildcards.seed}/{condition}.npy" for condition in told]


def target_split(wildcards):
    return f"results/splits/{CONFIG.targets[wildcards.target].split}/seed{wildcards.seed}.json"


def target_description(wildcards):
    """What a target is, in the folder of the training that made it."""
    return f"results/targets/{CONFIG.trained_as(wildcards.target)}/seed{wildcards.seed}/target.json"


def trained_targets():
    """Targets that have a folder of their own, of all the run asks."""
    return list(dict.fromkeys(map(CONFIG.trained_as, CONFIG.asked_targets)))


def told_texts():
    """Targets that are asked about latents and told texts."""
    return [target for target, spec in CONFIG.targets.items() if spec.latent]


def with_autoencoder():
    """Of those, the ones that have a folder of their own; a checkpoint has its target's autoencoder."""
    return [target for target in told_texts() if CONFIG.trained_as(target) == target]


def trained_captions(wildcards):
    """Samples with the captions that a target is trained on, if it is told any."""
    return target_dataset("samples.parquet")(wildcards) if CONFIG.targets[wildcards.target].latent else []


def captioners_table(wildcards):
    """Captions that a captioner gave the images of a target's dataset, where the condition is one."""
    if wildcards.condition in (NONE, CAPTION):
        return []
    return f"results/captions/{CONFIG.split_of(wildcards.target).dataset}/{wildcards.condition}.csv"


def target_shards(file):
    """Paths of a file of each of the target's shards."""

    def get(wildcards):
        shards = CONFIG.targets[wildcards.target].shards
        folder = f"results/{wildcards.answers}/{wildcards.target}/seed{wildcards.seed}"
        return [f"{folder}/{shard}of{shards}{file}" for shard in range(shards)]

    return get


def in_one_shard():
    """Targets that are asked in one job."""
    return [target for target, spec in CONFIG.targets.items() if spec.shards == 1]


def in_several_shards():
    """Targets that are asked in several jobs, whose answers are joined."""
    return [target for target, spec in CONFIG.targets.items() if spec.shards > 1]
