"""The user in the admin."""

from django.contrib import admin
from standalone_project.members.models import Member

admin.site.register(Member)
