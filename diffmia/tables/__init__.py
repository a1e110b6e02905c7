"""Paper-style tables: one file each, made from files of earlier stages alone."""

# name in `run.tables` and of the files it makes: the function that fills it, imported when it is needed
TABLES = {
    "table1": "diffmia.tables.attack_tables:table1",
    "table2": "diffmia.tables.attack_tables:table2",
    "table4": "diffmia.tables.attack_tables:table4",
    "table5": "diffmia.tables.table5:fill",
    "table6": "diffmia.tables.attack_tables:table6",
    "tablec1": "diffmia.tables.tablec1:fill",
    "comparison": "diffmia.tables.comparison:fill",
    "secmi_anchor": "diffmia.tables.attack_tables:secmi_anchor",
    "first_query": "diffmia.tables.attack_tables:first_query",
    "gsa_loss": "diffmia.tables.attack_tables:gsa_loss",
    "trust": "diffmia.tables.trust:fill",
    "null_control": "diffmia.tables.null_control:fill",
}
