"""Times in the admin: Django's own are to the minute, and do not say of which time zone.

https://docs.djangoproject.com/en/5.2/topics/i18n/formatting/#creating-custom-format-files
"""

DATETIME_FORMAT = "Y-m-d H:i:s T"
