"""Pages that answer a form, which wait for the browser that is redirected to them."""

from django.db import models

from ostiary.directory.models.members import Member


class FormPage(models.Model):
    """A page under the id of a draft: a form as it was typed, a preview, or a secret to show once."""

    #: SHA-256 of the member's number and the id in the address.
    digest = models.CharField(max_length=64, primary_key=True)
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="form_pages")
    #: Compressed, and sealed to this row: forms may hold secrets. Empty once it was shown.
    sealed = models.TextField()
    #: Whether it is shown once, and where its secret is replaced.
    once = models.BooleanField(default=False)
    replace = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
