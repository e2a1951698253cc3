const MASK = "•••";

/** Names after which a value is a secret, in a query, a form or a sentence. */
const SECRET_NAME =
  "pass(?:word|wd|phrase|code)?|pwd|secret|token|api[-_]?key|access[-_]?key|auth(?:orization)?|credential|session(?:id)?|sid|signature|sig|otp|code|jwt";

/**
 * What credentials look like wherever they stand: keys of well-known services, tokens, key blocks, and long runs of mixed
 * letters and digits, as no word of a language is.
 */
const LOOKS_SECRET: readonly RegExp[] = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g,
  /\b(?:sk|pk|rk|cr|ghp|gho|ghs|ghu|xox[abprs]|glpat|npm|hf|AIza|ya29|whsec)[-_.][\w.-]{10,}/g,
  /\bgithub_pat_\w{20,}/g,
  /\b(?:AKIA|ASIA|LTAI)[A-Za-z0-9]{12,}/g,
  /\bAIza[\w-]{30,}/g,
  /(?<![A-Za-z0-9+])(?=[A-Za-z+]{0,40}\d)(?=[a-z0-9+]{0,40}[A-Z])(?=[A-Z0-9+]{0,40}[a-z])[A-Za-z0-9+]{32,}={0,2}/g,
  /\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{32,}\b/gi,
];
const AFTER_NAME = new RegExp(String.raw`((?:^|[?&#;,\s"'{(])["']?[\w.-]*(?:${SECRET_NAME})["']?\s*[=:]\s*["']?)([^\s"'&#;,)}]+)`, "gi");
const AFTER_SCHEME = /\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}/gi;
const IN_AUTHORITY = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#@]+@/gi;
const CARD = /\b(?:\d[ -]?){12,18}\d\b/g;

/** A text with everything that looks like a credential masked. It masks too much rather than too little. */
export function masked(text: string): string {
  let shown = text.replace(IN_AUTHORITY, `$1${MASK}@`).replace(AFTER_SCHEME, `$1 ${MASK}`).replace(AFTER_NAME, `$1${MASK}`);
  for (const look of LOOKS_SECRET) shown = shown.replace(look, MASK);
  return shown.replace(CARD, (digits) => (isCard(digits) ? MASK : digits));
}

/** Numbers of cards carry a check digit, which other long numbers have by chance only. */
function isCard(text: string): boolean {
  const digits = text.replaceAll(/\D/g, "");
  let sum = 0;
  for (let at = 0; at < digits.length; at += 1) {
    const digit = Number(digits.at(-1 - at));
    const counted = at % 2 === 1 ? digit * 2 : digit;
    sum += counted > 9 ? counted - 9 : counted;
  }
  return sum % 10 === 0;
}
