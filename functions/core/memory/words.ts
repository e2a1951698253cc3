import { stemmer } from "stemmer";

/**
 * Words that nearly every sentence has, and those that only ask: they say nothing of what a sentence is about. Weighed
 * against each other by how rare they are they would still add up, so they are left out, on both sides.
 */
const STOP = new Set(
  `a about above after again against all also am an and any are aren as at be because been before being below between both but by
  can cannot could couldn d did didn do does doesn doing don down during each few for from further had hadn has hasn have haven
  having he her here hers herself him himself his how i if in into is isn it its itself just let ll m ma me might mightn more most
  must mustn my myself need needn no nor not now o of off on once only or other ought our ours ourselves out over own re s same
  shall shan she should shouldn so some such t than that the their theirs them themselves then there these they this those
  through to too under until up upon us ve very was wasn we were weren what when where which while who whom whose why will with
  won would wouldn you your yours yourself yourselves
  yeah yes ok okay hey hi hello oh wow really well much many got get gets getting go going gonna like maybe thing things
  did was were tell said say says one ever even still anything something everything someone anyone actually lot kind sort
  的 了 在 是 我 你 他 她 它 们 我们 你们 他们 这 那 这个 那个 和 与 就 都 而 及 也 很 吗 呢 吧 啊 什么 谁 哪 哪里 哪个 怎么 为什么 多少 几 有 没有 不 把 被 对 从 到 上 下 中 里 一个
  の は が を に で と も へ や から まで より か ね よ な だ です ます した して する いる ある こと もの これ それ あれ この その あの 何 誰 どこ いつ なぜ どう`.split(
    /\s+/,
  ),
);

/** Forms that no rule leads back to their word. */
const IRREGULAR = new Map(
  `went:go gone:go goes:go bought:buy brought:bring caught:catch taught:teach thought:think sought:seek fought:fight felt:feel kept:keep
  slept:sleep left:leave met:meet lost:lose built:build sent:send spent:spend lent:lend made:make paid:pay sold:sell told:tell
  found:find held:hold heard:hear stood:stand understood:understand won:win wore:wear worn:wear tore:tear torn:tear bore:bear
  wrote:write written:write drove:drive driven:drive rode:ride ridden:ride rose:rise risen:rise spoke:speak spoken:speak
  broke:break broken:break chose:choose chosen:choose froze:freeze frozen:freeze stole:steal stolen:steal woke:wake woken:wake
  took:take taken:take gave:give given:give ate:eat eaten:eat saw:see seen:see knew:know known:know grew:grow grown:grow
  flew:fly flown:fly drew:draw drawn:draw threw:throw thrown:throw blew:blow blown:blow began:begin begun:begin ran:run
  sang:sing sung:sing swam:swim swum:swim drank:drink drunk:drink rang:ring rung:ring came:come became:become
  fell:fall fallen:fall forgot:forget forgotten:forget hid:hide hidden:hide bit:bite bitten:bite led:lead read:read
  children:child men:man women:woman feet:foot teeth:tooth mice:mouse geese:goose people:person lives:life wives:wife
  knives:knife leaves:leaf shelves:shelf wolves:wolf better:good best:good worse:bad worst:bad mom:mother mum:mother dad:father
  kids:child kid:child grandma:grandmother grandpa:grandfather bike:bicycle bikes:bicycle photo:photograph photos:photograph
  pic:photograph pics:photograph tv:television movie:film movies:film`
    .split(/\s+/)
    .map((pair) => pair.split(":") as [string, string]),
);

/** Scripts that put no spaces between words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー\p{Script=Thai}\p{Script=Khmer}\p{Script=Lao}\p{Script=Myanmar}]+/gu;
const SPACED = /[\p{L}\p{M}\p{N}]+/gu;
const LONGEST = 64;

const segmenters = {
  ja: new Intl.Segmenter("ja", { granularity: "word" }),
  zh: new Intl.Segmenter("zh", { granularity: "word" }),
};

/** What a text says, as the words by which it is found. A text of nothing but stop words keeps them. */
export function wordsOf(text: string): string[] {
  const all = [...allWords(text)];
  const telling = all.filter((word) => !STOP.has(word));
  return (telling.length > 0 ? telling : all).map(stemOf);
}

function* allWords(text: string): Generator<string> {
  // Apostrophes of every kind join; what follows one is an ending or a stop word.
  const plain = text.normalize("NFKC").toLowerCase().replaceAll("’", "'");
  let at = 0;
  for (const match of plain.matchAll(UNSPACED)) {
    yield* spacedWords(plain.slice(at, match.index));
    yield* unspacedWords(match[0]);
    at = match.index + match[0].length;
  }
  yield* spacedWords(plain.slice(at));
}

function* spacedWords(text: string): Generator<string> {
  for (const [word] of text.matchAll(SPACED)) {
    const folded = word.normalize("NFD").replaceAll(/\p{M}/gu, "").normalize("NFC");
    if (folded !== "") yield folded.slice(0, LONGEST);
  }
}

/** A long word is also found by each two of its characters: where a word ends there is a matter of what stands around it. */
function* unspacedWords(run: string): Generator<string> {
  const segmenter = /[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(run) ? segmenters.ja : segmenters.zh;
  for (const { segment, isWordLike } of segmenter.segment(run)) {
    if (isWordLike === false) continue;
    yield segment.slice(0, LONGEST);
    const characters = Array.from(segment);
    if (characters.length < 3 || characters.length > 12) continue;
    for (let at = 0; at + 1 < characters.length; at += 1) yield characters.slice(at, at + 2).join("");
  }
}

function stemOf(word: string): string {
  const regular = IRREGULAR.get(word) ?? word;
  return /^[a-z]{3,}$/.test(regular) ? stemmer(regular) : regular;
}
