// What the made-up conversations are made of, in three languages. Line lengths are the sentences' own.

export type Language = "en" | "zh" | "ja";

/** Something that one does: by its name, by another one, and what was done with it. */
export interface Thing {
  name: string;
  synonym: string;
  past: string;
  base: string;
}

export interface Lexicon {
  names: string[];
  things: Thing[];
  companions: string[];
  places: string[];
  details: string[];
  months: string[];
  openers: string[];
  answers: string[];
  follows: { asked: string[]; answered: string[]; question: string[] };
  asides: string[];
  replies: string[];
  chat: string[];
  questions: { direct: string[]; form: string[]; paraphrase: string[]; date: string[]; several: string[] };
}

function things(table: string): Thing[] {
  return table
    .trim()
    .split("\n")
    .map((line) => {
      const [name = "", synonym = "", past = "", base = ""] = line.split("|").map((part) => part.trim());
      return { name, synonym, past, base };
    });
}

const EN: Lexicon = {
  names: "Amara Bjorn Chiara Dmitri Elif Farid Greta Hiroshi Imani Jonas Kavya Liam".split(" "),
  things: things(`
    pottery class | ceramics course | went to | go to
    mountain bike | cycle | rode | ride
    old guitar | instrument | sold | sell
    novel | book | wrote | write
    vegetable garden | allotment | dug | dig
    sourdough bread | loaf | baked | bake
    charity run | race | ran | run
    adopted puppy | dog | took out | take out
    watercolour | painting | drew | draw
    support group | meeting | spoke at | speak at
    camping trip | outdoor weekend | went on | go on
    piano recital | concert | gave | give
    swimming lessons | pool course | taught | teach
    job interview | hiring talk | had | have
    thesis | dissertation | read from | read from
    kitchen | cooking corner | built | build`),
  companions: "my sister|my kids|a colleague|my grandma|an old friend|the neighbours|my partner|my brother's family".split("|"),
  places: "Lisbon Tromso Kyoto Accra Cusco Tallinn Hobart Marrakesh Leipzig Oaxaca Galway Bergen".split(" "),
  details:
    "it rained the whole time|we nearly missed the bus|everybody clapped|I cried a bit at the end|the lights went out|somebody lost a shoe|we laughed so much|my knee still hurts".split(
      "|",
    ),
  months: "January February March April May June July August September October November December".split(" "),
  openers: [
    "Hey {who}! So good to hear from you. How have you been, and what's up with the {thing}?",
    "What did you get up to? Last time you said something about the {thing}.",
    "Tell me what is new with you, I want to hear all about it!",
    "How are things going with the {thing} these days?",
    "You seem so happy today, what did you do?",
  ],
  answers: [
    "Oh, I finally {past} the {thing} in {place} with {with}. It was something that I had wanted to do for so long!",
    "Well, last weekend {with} and I {past} the {thing} over in {place}, and {detail}.",
    "You won't believe it, but I {past} the {thing} when we were in {place}. I am still thinking about it.",
    "It has been a lot, to be honest. We {past} the {thing}, {with} came along to {place}, and that was that.",
  ],
  follows: {
    asked: [
      "And how did the {thing} go in the end?",
      "Wow, the {thing} in {place}! What was it like?",
      "So was the {thing} worth all the trouble?",
    ],
    answered: [
      "So good. {detail}, and I would do it again tomorrow.",
      "It was not what I had expected, {detail}.",
      "Better than last time, although {detail}.",
    ],
    question: [
      "How did {who} find the {thing} in {place}?",
      "What happened at {who}'s {thing} in {place}?",
      "What did {who} say it was like, the {thing} with {with}?",
    ],
  },
  asides: [
    "I keep thinking about the {thing}, and what you said about it.",
    "Maybe I should do more of the {thing}, it is so good for me.",
    "Anyway, the {thing} can wait, how was your week in {place}?",
    "Did you know that they have something like the {thing} in {place} too?",
  ],
  replies: [
    "That is so good to hear, I am really happy for you!",
    "I know what you mean, it was the same with me.",
    "Wow, I did not know about that. You should be proud of what you did!",
    "Thanks, that means a lot to me. I could not have done it without you.",
    "Sounds like a lot of work, but you did it!",
    "Yeah, it is what it is. What else did you do?",
  ],
  chat: [
    "Hey {whom}, how was your day? It has been so long since we spoke!",
    "Did you see the news about {place}? What do you think will happen?",
    "I was so tired this week, I did not do much with the {thing} or anything else.",
    "Have you had time to think about what you want to do next year?",
    "My week was fine, nothing new. How did yours go?",
  ],
  questions: {
    direct: [
      "Where did {who} go with {with} when they {past} the {thing}?",
      "Who was with {who} in {place} for the {thing}?",
      "What did {who} do in {place} with the {thing}?",
    ],
    form: ["When did {who} {base} the {thing} in {place}?", "Did {who} really {base} a {thing} while being in {place}?"],
    paraphrase: [
      "What was the thing about the {again} that {who} told from {place}?",
      "With whom did {who} have to do with the {again} in {place}?",
    ],
    date: [
      "What did {who} do with the {thing} in {month} 2023?",
      "What was {who} up to in {month}, was there something about the {thing}?",
    ],
    several: ["Where has {who} been with the {thing}?", "In which places did {who} {base} the {thing}?"],
  },
};

const ZH: Lexicon = {
  names: "小明 丽华 建国 思雨 子涵 晓东 美玲 志强".split(" "),
  things: things(`
    陶艺课 | 手工班 | 参加了 | 参加
    山地车 | 自行车 | 骑了 | 骑
    旧吉他 | 乐器 | 卖了 | 卖
    小说 | 书稿 | 写完了 | 写
    菜园 | 小块地 | 翻了 | 翻
    马拉松 | 长跑 | 跑完了 | 跑
    小狗 | 宠物 | 领养了 | 领养
    水彩画 | 画作 | 画了 | 画
    露营 | 野外活动 | 去了 | 去
    钢琴比赛 | 演奏会 | 参加了 | 参加
    面试 | 招聘谈话 | 通过了 | 通过
    毕业论文 | 学术文章 | 交了 | 交`),
  companions: "我妹妹 孩子们 一位同事 外婆 老朋友 邻居 我弟弟".split(" "),
  places: "杭州 成都 青岛 昆明 西安 厦门 哈尔滨 敦煌 桂林 苏州".split(" "),
  details: "一直下雨|差点没赶上车|大家都鼓掌了|最后我哭了|突然停电了|有人丢了鞋|我们笑个不停|膝盖现在还疼".split("|"),
  months: "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月".split(" "),
  openers: [
    "{who},好久不见,最近怎么样?{thing}的事情有进展吗?",
    "最近在忙什么呢?上次你说到{thing}。",
    "快告诉我有什么新鲜事!",
    "你今天看起来很高兴,做了什么?",
  ],
  answers: [
    "我终于在{place}{past}{thing},是和{with}一起的,这件事我想了很久。",
    "上个周末我和{with}在{place}{past}{thing},{detail}。",
    "你肯定不信,我们在{place}的时候我{past}{thing}。",
  ],
  follows: {
    asked: ["那{thing}最后怎么样了?", "在{place}的{thing}感觉如何?"],
    answered: ["非常好,{detail},我还想再来一次。", "和我想的不一样,{detail}。", "比上次好,不过{detail}。"],
    question: ["{who}觉得{place}的{thing}怎么样?", "{who}在{place}的{thing}上发生了什么?"],
  },
  asides: ["我一直在想{thing}的事,还有你说的话。", "也许我应该多花点时间在{thing}上。", "不说{thing}了,你在{place}这周过得怎么样?"],
  replies: [
    "听到这个真好,我为你高兴!",
    "我明白你的意思,我也一样。",
    "真的吗,我都不知道。",
    "谢谢你,这对我很重要。",
    "听起来很辛苦,但是你做到了!",
  ],
  chat: [
    "{whom},今天过得怎么样?我们好久没有聊天了!",
    "你看到{place}的新闻了吗?",
    "这周太累了,{thing}什么的都没有做。",
    "你想过明年要做什么吗?",
  ],
  questions: {
    direct: ["{who}和{with}在哪里{past}{thing}?", "{who}在{place}和谁一起{past}{thing}?"],
    form: ["{who}什么时候在{place}{base}{thing}的?"],
    paraphrase: ["{who}说的{place}那个{again}是怎么回事?"],
    date: ["{who}2023年{month}的{thing}是怎么回事?", "{month}的时候{who}和{thing}有关的事是什么?"],
    several: ["{who}在哪些地方{base}过{thing}?"],
  },
};

const JA: Lexicon = {
  names: "健太 美咲 翔太 陽菜 大輔 由美 拓也 千尋".split(" "),
  things: things(`
    陶芸教室 | 焼き物の講座 | 通いました | 通う
    登山 | 山歩き | 楽しみました | 楽しむ
    古いギター | 楽器 | 売りました | 売る
    小説 | 本 | 書きました | 書く
    家庭菜園 | 畑 | 始めました | 始める
    マラソン | 長距離走 | 走りました | 走る
    子犬 | ペット | 引き取りました | 引き取る
    水彩画 | 絵 | 描きました | 描く
    キャンプ | 野外の週末 | 行きました | 行く
    ピアノの発表会 | 演奏会 | 開きました | 開く
    面接 | 採用の話 | 受けました | 受ける
    卒業論文 | 研究の文章 | 出しました | 出す`),
  companions: "妹 子どもたち 同僚 祖母 古い友人 隣の人 弟の家族".split(" "),
  places: "京都 札幌 金沢 長崎 仙台 那覇 松山 奈良 函館 広島".split(" "),
  details:
    "ずっと雨でした|バスに乗り遅れそうでした|みんな拍手してくれました|最後に泣いてしまいました|急に停電しました|誰かが靴をなくしました|笑いが止まりませんでした|膝がまだ痛いです".split(
      "|",
    ),
  months: "1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月".split(" "),
  openers: [
    "{who}さん、お久しぶりです。{thing}のほうはどうですか?",
    "最近どうしていますか?この前{thing}の話をしていましたね。",
    "何か新しいことがあったら教えてください!",
    "今日はとても嬉しそうですね、何をしたのですか?",
  ],
  answers: [
    "ついに{place}で{thing}を{with}と一緒に{past}。ずっとやりたかったことなんです。",
    "先週末、{with}と{place}で{thing}を{past}が、{detail}。",
    "信じられないかもしれませんが、{place}にいる間に{thing}を{past}。",
  ],
  follows: {
    asked: ["それで{thing}は結局どうでしたか?", "{place}の{thing}はどんな感じでしたか?"],
    answered: [
      "とても良かったです。{detail}、でもまたやりたいです。",
      "思っていたのと違いました。{detail}。",
      "前よりは良かったですが、{detail}。",
    ],
    question: ["{who}さんにとって{place}の{thing}はどうでしたか?", "{place}の{thing}で{who}さんに何がありましたか?"],
  },
  asides: [
    "{thing}のことと、あなたが言ったことをずっと考えています。",
    "もっと{thing}に時間をかけるべきかもしれません。",
    "{thing}はさておき、{place}での一週間はどうでしたか?",
  ],
  replies: [
    "それは良かったですね、本当に嬉しいです!",
    "わかります、私も同じでした。",
    "本当ですか、知りませんでした。",
    "ありがとう、とても大事なことです。",
    "大変そうですが、やり遂げましたね!",
  ],
  chat: [
    "{whom}さん、今日はどうでしたか?久しぶりに話しますね!",
    "{place}のニュースを見ましたか?",
    "今週は疲れて、{thing}も何もできませんでした。",
    "来年何をしたいか考えましたか?",
  ],
  questions: {
    direct: ["{who}さんは{with}とどこで{thing}を{past}か?", "{place}で{who}さんは誰と{thing}を{past}か?"],
    form: ["{who}さんが{place}で{thing}を{base}のはいつですか?"],
    paraphrase: ["{who}さんが話していた{place}での{again}は何のことですか?"],
    date: ["{who}さんは2023年{month}に{thing}で何をしましたか?"],
    several: ["{who}さんはどこで{thing}を{base}ことがありますか?"],
  },
};

export const LEXICONS: Record<Language, Lexicon> = { en: EN, zh: ZH, ja: JA };
