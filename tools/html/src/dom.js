// Elements. Text from the data goes into text nodes and attributes only, never into markup.

// element("div.class", {attribute: value, onclick: f}, ...children): children are elements, texts, or nothing.
export function element(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const byId = (id) => document.getElementById(id);

// The value of a colour or another variable of the style sheet.
export function styleValue(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
