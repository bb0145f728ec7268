// Changes a part of the page into a newer one, where they differ. Focus, what is typed and what is open stay.
"use strict";

const plain = (node) => {
  const copy = node.cloneNode(true);
  for (const token of copy.querySelectorAll("input[name=csrfmiddlewaretoken]")) token.value = "";
  // That time goes by changes nothing.
  for (const moment of copy.querySelectorAll("time.moment")) moment.textContent = "";
  return copy;
};
const same = (a, b) => plain(a).isEqualNode(plain(b));
const keyed = (element) => [...element.children].filter((child) => child.dataset.key);

// Change `old` into `fresh`, where they differ.
function renew(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE || same(old, fresh)) return;
  // What was loaded into a part by itself stays.
  if (old.matches("[hx-trigger*=load]") && fresh.matches("[hx-trigger*=load]")) return;
  for (const { name } of [...old.attributes]) {
    // What its reader opened stays open.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.matches("input[type=hidden]")) old.value = fresh.value;
  if (keyed(old).length || keyed(fresh).length) return renewRows(old, fresh);
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  const alike = (node, i) => node.nodeType === after[i].nodeType && node.nodeName === after[i].nodeName;
  if (before.length === after.length && before.every(alike)) {
    before.forEach((node, i) => renew(node, after[i]));
  } else {
    old.replaceChildren(...after);
  }
}

// Rows are known by their key: a button never becomes another row's while somebody is at it.
function renewRows(old, fresh) {
  const known = new Map(keyed(old).map((row) => [row.dataset.key, row]));
  const rows = [...fresh.childNodes].map((node) => {
    const row = node.dataset && known.get(node.dataset.key);
    if (!row) return node;
    renew(row, node);
    return row;
  });
  const kept = new Set(rows);
  for (const node of [...old.childNodes]) if (!kept.has(node)) node.remove();
  let at = old.firstChild;
  for (const row of rows) {
    if (row === at) at = at.nextSibling;
    else old.insertBefore(row, at);
  }
}
