"""Paper-style tables: one file each, made from files of earlier stages alone."""

from typing import NamedTuple


class Entry(NamedTuple):
    """How a table is made (the function that fills it, imported when needed), and its title and place in the report."""

    function: str
    title: str
    category: str = "Tables"


# by the name in `run.tables`, which is also that of the files it makes, and of its caption in rules/captions/tables/
TABLES = {
    "table1": Entry("diffmia.tables.attack_tables:table1", "ASR and AUC on DDPMs"),
    "table2": Entry("diffmia.tables.attack_tables:table2", "TPR at low FPR on DDPMs"),
    "table3": Entry("diffmia.tables.attack_tables:table3", "text-to-image models"),
    "table4": Entry("diffmia.tables.attack_tables:table4", "U-ViTs, in continuous time"),
    "table5": Entry("diffmia.tables.table5:fill", "quantile regression"),
    "table6": Entry("diffmia.tables.attack_tables:table6", "attacks that were told members"),
    "tablec1": Entry("diffmia.tables.tablec1:fill", "targets and sample sets"),
    "comparison": Entry("diffmia.tables.comparison:fill", "published numbers beside ours"),
    "secmi_anchor": Entry("diffmia.tables.attack_tables:secmi_anchor", "readings of SecMI with OMS"),
    "first_query": Entry("diffmia.tables.attack_tables:first_query", "readings of the first query"),
    "texts": Entry("diffmia.tables.texts:fill", "what a text-to-image model is told"),
    "gsa_loss": Entry("diffmia.tables.attack_tables:gsa_loss", "readings of GSA with OMS"),
    "trust": Entry("diffmia.tables.trust:fill", "every AUC against blind baselines", "Trust"),
    "threshold_transfer": Entry("diffmia.tables.threshold_transfer:fill", "thresholds from another seed", "Trust"),
    "null_control": Entry("diffmia.tables.null_control:fill", "models that saw neither set", "Trust"),
}
