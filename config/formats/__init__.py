"""How Django writes times in each language: `LANGUAGE_CODE` names the one that is used."""
