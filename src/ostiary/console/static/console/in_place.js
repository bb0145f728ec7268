// Switches, and other forms that are marked [data-in-place], act where they are: focus and scroll stay.
// What is dangerous asks first, in a dialog.
"use strict";

// The place of messages: a redrawn page may have another element for it.
const done = () => document.getElementById("done");

// Says what failed where the form is: in its dialog, or at the place of messages. "Undo" there stays.
function tell(form, text) {
  const dialog = form.closest("dialog");
  const line = document.createElement("p");
  line.className = "notice error";
  line.textContent = text;
  if (!dialog && !done().contains(form)) return done().replaceChildren(line);
  if (dialog) line.setAttribute("role", "alert");
  const place = dialog || done();
  place.querySelectorAll(":scope > .notice.error").forEach((each) => each.contains(form) || each.remove());
  place.prepend(line);
}

const UNKNOWN = "The change may have been made or not: reload this page to see.";
const closeDialogs = () => document.querySelectorAll("dialog.question").forEach((each) => each.close());

const inPlace = (form) => form.matches("[data-in-place]") || form.querySelector("button.switch");

// A dialog with a content; it goes when it is closed, and focus goes back to where it was.
function openDialog(content) {
  const dialog = document.createElement("dialog");
  dialog.className = "card question";
  dialog.append(content);
  const title = dialog.querySelector("h1, h2");
  title.id = "question-title";
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.addEventListener("close", () => dialog.remove());
  for (const link of dialog.querySelectorAll("[data-cancel]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
  }
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// The question of a button that has one of its own, in words.
function confirmed(submitter) {
  const box = document.createElement("div");
  const [title, ...more] = submitter.dataset.confirm.split(/(?<=\?) /);
  const heading = document.createElement("h2");
  heading.className = "first";
  heading.textContent = title;
  const text = document.createElement("p");
  text.textContent = more.join(" ");
  const actions = document.createElement("div");
  actions.className = "actions";
  const yes = document.createElement("button");
  yes.className = "danger";
  yes.textContent = submitter.matches(".switch") ? "Deactivate" : submitter.textContent.trim();
  const no = document.createElement("button");
  no.textContent = "Cancel";
  no.dataset.cancel = "1";
  actions.append(yes, no);
  box.append(heading, ...(more.length ? [text] : []), actions);
  const dialog = openDialog(box);
  yes.addEventListener("click", () => {
    dialog.close();
    submitter.dataset.sure = "1";
    submitter.form.requestSubmit(submitter);
    delete submitter.dataset.sure;
  });
}

// Show the page that an answer is, where it differs from the one that is there.
function showAnswer(page, form) {
  const action = form.getAttribute("action");
  const live = document.querySelector("[data-live]") && page.querySelector("[data-live]") ? "[data-live]" : "main";
  const old = document.querySelector(live);
  const fresh = page.querySelector(live);
  const news = [...page.querySelectorAll("#done > *")];
  for (const part of [page.getElementById("done"), page.getElementById("news")]) part && part.replaceChildren();
  done().replaceChildren();
  document.getElementById("news").textContent = "";
  const focused = document.activeElement;
  renew(old, fresh);
  if (window.htmx) window.htmx.process(old);
  done().replaceChildren(...news);
  if (focused && !focused.isConnected) {
    const again = [...document.querySelectorAll("main form")].find((each) => each.getAttribute("action") === action);
    const button = again && again.querySelector("button:not(:disabled)");
    (button || done()).focus({ preventScroll: true });
  }
}

async function act(form, submitter) {
  if (form.dataset.acting) return;
  form.dataset.acting = "1";
  const waiting = setTimeout(() => submitter && submitter.setAttribute("aria-busy", "true"), 150);
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form, submitter)),
      headers: { Accept: "text/html", "X-Ostiary-In-Place": "1" },
      cache: "no-store",
    });
    if (!answer.headers.has("X-Ostiary-Console")) {
      const who = answer.ok ? "Something other than the console answered." : `The console failed to answer (${answer.status}).`;
      return tell(form, `${who} ${UNKNOWN}`);
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const question = page.querySelector("[data-question]");
    const { pathname, search } = new URL(answer.url);
    if (!answer.ok) {
      const why = page.querySelector("main p:not(.notice)");
      const text = why ? why.textContent : `The console failed to answer (${answer.status}).`;
      tell(form, text.includes("Nothing was") ? text : `${text} Nothing was changed.`);
    } else if (question) {
      closeDialogs();
      openDialog(question);
    } else if (pathname + search !== location.pathname + location.search) {
      if (pathname.startsWith("/sign-in")) keepDraft(form);
      location.assign(answer.url);
    } else {
      closeDialogs();
      showAnswer(page, form);
    }
  } catch {
    tell(form, `The console did not answer. ${UNKNOWN}`);
  } finally {
    clearTimeout(waiting);
    delete form.dataset.acting;
    if (submitter) submitter.removeAttribute("aria-busy");
  }
}

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (event.defaultPrevented) return;
  if (submitter && submitter.dataset.confirm && !submitter.dataset.sure) {
    event.preventDefault();
    confirmed(submitter);
  } else if (inPlace(form)) {
    event.preventDefault();
    act(form, submitter);
  }
});
