/* Numbers in words, the same in every component. */
import { _, ngettext } from "./mount.js";

/* As `format_rate` in core/formatting.py, with three digits: 5e-4, 1.2e-2, 1. */
export function formatRate(rate) {
  const rounded = Number(rate.toPrecision(3));
  if (rounded <= 0 || rounded >= 1) return String(rounded);
  const [digits, power] = rounded.toExponential().split("e");
  return `${digits}e${Number(power)}`;
}

/* The name of a kind of tokens, as core/text/token_display.py sorts them. */
export function kindName(kind) {
  const names = {
    vowel: _("vowels"), consonant: _("consonants"), capital: _("capitals"), letter: _("letters"), digit: _("digits"),
    punctuation: _("punctuation"), space: _("spaces"), other: _("others"),
  };
  return names[kind] || kind;
}

/* 950, 18.6k, 1.2M */
export function formatCount(number) {
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)}M`;
  return number >= 1e4 ? `${(number / 1e3).toFixed(1)}k` : Math.round(number).toLocaleString("en");
}

/* As `duration_in_words` in core/formatting.py: "41 s", "1 min 20 s", "42 min", "2 h 5 min", "9 days". */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [minutes, hours] = [Math.floor(whole / 60), Math.floor(whole / 3600)];
  if (whole < 60) return _("{seconds} s", { seconds: whole });
  if (whole < 600 && whole % 60) return _("{minutes} min {seconds} s", { minutes, seconds: whole % 60 });
  if (whole < 3600) return _("{minutes} min", { minutes });
  if (whole < 48 * 3600) return _("{hours} h {minutes} min", { hours, minutes: minutes % 60 });
  const [days, years] = [Math.floor(whole / 86400), Math.floor(whole / (365 * 86400))];
  if (years < 2) return ngettext("{days} day", "{days} days", days, { days: days.toLocaleString("en") });
  return ngettext("{years} year", "{years} years", years, { years: years.toLocaleString("en") });
}

/* A perplexity as `core.formatting.loss_as_choice` writes it: 6.7, 12.4, 66.0. */
export function formatPerplexity(choices) {
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return choices < 1e6 ? choices.toLocaleString("en", digits) : _("a great many");
}

/* A share as people write it: 62%, 3.4%, less than 0.1%. */
export function formatPercent(share, least = _("less than 0.1%")) {
  if (share >= 0.0995) return `${Math.round(share * 100)}%`;
  if (share >= 0.001) return `${(share * 100).toFixed(1)}%`;
  return share ? least : "0%";
}

/* Numbers as people write them: "+0.42", "−1.3", without a sign for a rounded zero; `plus` precedes positive ones. */
export function formatSigned(value, plus = "+") {
  const text = Math.abs(value).toFixed(Math.abs(value) < 9.995 ? 2 : 1);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : plus}${text}`;
}
