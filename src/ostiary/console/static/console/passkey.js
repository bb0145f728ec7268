// Passkeys: asks the server what to ask the browser, and sends the answer with the form.
"use strict";

const toBytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function readOptions(options) {
  options.challenge = toBytes(options.challenge);
  if (options.user) options.user.id = toBytes(options.user.id);
  for (const list of [options.excludeCredentials, options.allowCredentials])
    for (const each of list || []) each.id = toBytes(each.id);
  return options;
}

function written(credential) {
  const { response } = credential;
  const parts = { clientDataJSON: toText(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"])
    if (response[name]) parts[name] = toText(response[name]);
  return JSON.stringify({
    id: credential.id,
    rawId: toText(credential.rawId),
    type: credential.type,
    clientExtensionResults: {},
    response: parts,
  });
}

async function ask(form) {
  const { passkey, options, origin } = form.dataset;
  if (location.origin !== origin) throw `Passkeys work only at ${origin}: open the console there.`;
  if (!window.PublicKeyCredential) throw "This browser knows no passkeys.";
  const body = new URLSearchParams({
    csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value,
    for: form.dataset.for,
  });
  let answer;
  try {
    answer = await fetch(options, { method: "POST", body });
  } catch {
    throw "The console did not answer. Try again.";
  }
  if (answer.status >= 500) throw `The console failed to answer (${answer.status}). Try again.`;
  if (!answer.ok) throw "This page is too old. Reload it and try again.";
  const publicKey = readOptions((await answer.json()).publicKey);
  try {
    return written(await navigator.credentials[passkey]({ publicKey }));
  } catch (error) {
    throw error.name === "InvalidStateError"
      ? "This device has a passkey of yours already."
      : "The browser did not use a passkey; try again, or use another way.";
  }
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector("[role=alert]");
    said.hidden = true;
    try {
      form.elements.passkey.value = await ask(form);
      form.submit();
    } catch (problem) {
      said.textContent = typeof problem === "string" ? problem : "The passkey was not accepted. Try again.";
      said.hidden = false;
    }
  });
}
