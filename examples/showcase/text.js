// Elements and numbers as text, for the page's other scripts.

export const $ = (id) => document.getElementById(id);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const text = (id, value) => { $(id).textContent = value; };
export const whole = (n) => Math.round(n).toLocaleString("en");
export const decimals = (n, count) => n.toLocaleString("en", { minimumFractionDigits: count, maximumFractionDigits: count });
export const mib = 1024 * 1024;

export function bytes(n) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${unit === 0 ? n : decimals(n, 1)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

export const rate = (amount, seconds) => `${bytes(amount / Math.max(seconds, 0.001))}/s`;
