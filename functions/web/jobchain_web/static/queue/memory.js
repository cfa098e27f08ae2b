/** The browser's storage. Some browsers forbid it; the page works without it. */

const kept = (store, act) => {
  try {
    return act(window[store]);
  } catch {
    return null;
  }
};

/** @param {"localStorage"|"sessionStorage"} store */
export const recall = (store, key) => kept(store, (items) => items.getItem(key));

export const remember = (store, key, value) => kept(store, (items) => (value ? items.setItem(key, value) : items.removeItem(key)));

/** Removes all whose keys begin so. */
export const forget = (store, start) =>
  kept(store, (items) => Object.keys(items).filter((key) => key.startsWith(start)).forEach((key) => items.removeItem(key)));
