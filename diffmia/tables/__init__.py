"""Paper-style tables: one file each, made from files of earlier stages alone."""

# name in `run.tables` and of the files it makes: the function that fills it, imported when it is needed
TABLES = {
    "table1": "diffmia.tables.attack_tables:table1",
    "table2": "diffmia.tables.attack_tables:table2",
    "tablec1": "diffmia.tables.tablec1:fill",
    "comparison": "diffmia.tables.comparison:fill",
    "secmi_anchor": "diffmia.tables.attack_tables:secmi_anchor",
}
