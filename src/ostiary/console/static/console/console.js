// Small helps; every page works without them.
"use strict";

// The secret of a sign-in link stands after the #: it goes into the form, and out of the address.
const linkForm = document.getElementById("link-form");
if (linkForm && location.hash.length > 1) {
  linkForm.elements.code.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  linkForm.submit();
}

// Dangerous actions ask.
document.addEventListener("submit", (event) => {
  const question = event.submitter && event.submitter.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
