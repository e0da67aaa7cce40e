"""Whether a title says anything, and when two titles are the same: rules for names that words or an LLM proposed.

It proposes none and knows no cluster. The words are those of the languages that chats are mostly written in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from functools import cache

__all__ = ["MAX_TITLE", "is_generic", "normalized", "sentence_case", "unique", "without_preamble"]

MAX_TITLE = 60  # characters; longer ones do not fit a table or a map

# Names of anything at all, by language: a title of such words alone could stand over every cluster.
VAGUE = {
    "en": """
    a an and the of in on to for with about from or by at as is are be it this that these those other others another
    all any some more most many much lot lots various varied diverse different mixed miscellaneous misc several
    general common basic simple specific certain random assorted etc unknown unclear unclustered untitled unnamed
    none null noise outlier outliers uncategorized cluster clusters group groups category categories topic topics
    theme themes subject subjects area areas type types kind kinds item items thing things stuff matter matters case
    cases example examples sentence sentences prompt prompts query queries question questions request requests
    inquiry inquiries enquiry enquiries ask asks asking asked answer answers answering response responses reply
    replies conversation conversations chat chats dialog dialogue discussion discussions talk interaction
    interactions statement statements phrase phrases input inputs instruction instructions task tasks command
    commands issue issues problem problems concern concerns help helping helps assistance assist information info
    detail details explanation explanations description user users someone anyone assistant bot related relating
    regarding concerning based using use used uses get gets getting got make makes making made do does doing done go
    going give gives given take let see look know known knowing tell telling told say says saying think want wants
    wanted wanting need needs needed needing like would could should can may might must will please pls plz thanks
    thank hello hi hey yes no ok okay sure good great nice best better new way ways able try trying possible really
    just also very one ones first today now what which who whom whose when where why how i me my mine you your yours
    we us our he she they them their its im ive id youre dont doesnt didnt cant whats hows there here not if then
    than so but because am was were been has have had having
    """,
    "de": """
    sonstiges verschiedenes verschiedene allgemein allgemeine andere anderes frage fragen anfrage anfragen hilfe
    bitte danke thema themen gruppe benutzer nutzer anliegen problem probleme information informationen sag sage
    zeig zeige gib wie was wer wo wann warum welche welcher welches ist sind ein eine der die das und oder über zu
    zum zur von für mit kannst kann können möchte will brauche
    """,
    "fr": """
    divers diverses général générale générales généraux autre autres question demande demandes aide sujet sujets
    thème thèmes groupe utilisateur utilisateurs requête requêtes merci plaît stp svp bonjour quel quelle quels
    quelles qui que quoi où quand pourquoi comment est sont un une le la les des du de et ou sur pour avec dis donne
    veux peux
    """,
    "es": """
    varios varias variado general generales otro otra otros otras pregunta preguntas consulta consultas solicitud
    solicitudes ayuda tema temas grupo usuario usuarios favor gracias hola qué que cuál cual quién quien dónde donde
    cuándo cuando cómo como por para es son el los las un una unos unas y o del al sobre con quiero puedes dime dame
    necesito
    """,
    "pt": """
    vários várias geral gerais outro outra outros outras pergunta perguntas consultas pedido pedidos ajuda assunto
    assuntos usuário usuários obrigado obrigada olá qual quais quem onde quando porquê são um uma os as do da dos
    das e ou em com quero pode diga preciso
    """,
    "it": """
    vari varie generale generali altro altra altri altre domanda domande richiesta richieste aiuto argomento
    argomenti gruppo utente utenti favore grazie ciao quale quali chi cosa dove perché è sono il lo gli uno di dei
    delle ed su con voglio puoi dimmi
    """,
    "nl": """
    overig overige diversen algemeen algemene andere vraag vragen verzoek verzoeken hulp onderwerp onderwerpen groep
    gebruiker gebruikers alstublieft bedankt hallo wat wie waar wanneer waarom hoe welke is zijn een het en of over
    voor met
    """,
    "pl": """
    inne różne ogólne pytanie pytania prośba prośby pomoc temat tematy grupa użytkownik proszę dziękuję cześć co kto
    gdzie kiedy dlaczego jak jaki jaka jakie jest są
    """,
    "sv": """
    övrigt diverse allmänt annat fråga frågor hjälp ämne ämnen grupp användare tack hej vad vem var när varför hur
    vilken är och eller om
    """,
    "tr": """
    diğer çeşitli genel soru sorular sorusu soruları istek istekler yardım konu konular grup kullanıcı lütfen
    teşekkürler merhaba ne kim nerede nezaman neden nasıl hangi ve veya
    """,
    "id": """
    lainnya umum pertanyaan permintaan bantuan topik kelompok pengguna tolong terima kasih halo apa siapa dimana
    kapan mengapa bagaimana dan atau
    """,
    "ru": """
    разное прочее другое другие общее общие общий вопрос вопросы запрос запросы помощь тема темы группа пользователь
    пользователи проблема проблемы пожалуйста спасибо привет что кто где когда почему как какой какая какие и или о
    об про для по скажи расскажи дай хочу можешь
    """,
    "uk": "інше різне загальне питання запит запити допомога тема будь ласка дякую привіт що хто де коли чому як",
    "ar": """
    أخرى متنوع متنوعة عام عامة سؤال أسئلة اسئلة طلب طلبات مساعدة موضوع مواضيع مجموعة مستخدم مستخدمين مشكلة مشاكل
    معلومات شكرا مرحبا فضلك من ما ماذا متى أين اين لماذا كيف هل هو هي في عن على و أو
    """,
    "he": "אחר שונות כללי שאלה שאלות בקשה בקשות עזרה נושא נושאים בבקשה תודה שלום מה מי איפה מתי למה איך",
    "fa": "دیگر متفرقه عمومی سوال سوالات درخواست کمک موضوع لطفا سلام چه چی کی کجا چرا چگونه و یا",
    "hi": """
    अन्य विविध सामान्य प्रश्न सवाल अनुरोध मदद सहायता विषय समूह कृपया धन्यवाद नमस्ते क्या कौन कहाँ कब क्यों कैसे और
    या
    """,
    "bn": "অন্যান্য বিবিধ সাধারণ প্রশ্ন অনুরোধ সাহায্য বিষয় দয়া করে ধন্যবাদ কি কে কোথায় কখন কেন কিভাবে",
    "ko": """
    기타 일반 질문 질문들 문의 요청 도움 주제 그룹 사용자 문제 정보 부탁 부탁합니다 부탁해요 감사합니다 안녕하세요
    무엇 뭐 누구 어디 언제 왜 어떻게 무슨 어떤 알려줘 알려주세요
    """,
    "vi": """
    khác chung câu hỏi yêu cầu giúp đỡ chủ đề nhóm người dùng vui lòng cảm ơn xin chào gì ai đâu khi nào tại sao
    """,
}
# the same for scripts without spaces
VAGUE_UNSPACED = (
    *(
        "其他问题",
        "其他",
        "其它",
        "杂项",
        "各种",
        "多种",
        "一般",
        "常见",
        "通用",
        "综合",
        "未分类",
        "问题",
        "提问",
        "请求",
    ),
    *(
        "查询",
        "询问",
        "咨询",
        "帮助",
        "协助",
        "话题",
        "主题",
        "类别",
        "用户",
        "信息",
        "内容",
        "对话",
        "聊天",
        "请问",
        "请",
    ),
    *(
        "謝謝",
        "谢谢",
        "你好",
        "什么",
        "什麼",
        "怎么",
        "怎麼",
        "如何",
        "为什么",
        "為什麼",
        "哪里",
        "哪個",
        "哪些",
        "多少",
    ),
    *(
        "其他問題",
        "各種",
        "問題",
        "請求",
        "查詢",
        "詢問",
        "幫助",
        "話題",
        "主題",
        "用戶",
        "關於",
        "关于",
        "相关",
        "相關",
    ),
    *("的", "了", "是", "和", "与", "与", "我", "你", "吗", "嗎", "呢", "谁", "誰", "告诉", "想", "要", "有"),
    *(
        "その他",
        "さまざまな",
        "様々な",
        "いろいろな",
        "一般的な",
        "雑多",
        "質問",
        "リクエスト",
        "依頼",
        "要求",
        "ヘルプ",
        "サポート",
    ),
    *(
        "助け",
        "トピック",
        "テーマ",
        "ユーザー",
        "クエリ",
        "情報",
        "会話",
        "お願いします",
        "ください",
        "教えて",
        "ありがとう",
        "こんにちは",
    ),
    *(
        "何",
        "誰",
        "どこ",
        "いつ",
        "なぜ",
        "どう",
        "どの",
        "です",
        "ます",
        "について",
        "に関する",
        "の",
        "は",
        "が",
        "を",
        "に",
        "と",
        "か",
    ),
    *(
        "อื่นๆ",
        "ทั่วไป",
        "คำถาม",
        "คำขอ",
        "ช่วยเหลือ",
        "หัวข้อ",
        "ผู้ใช้",
        "กรุณา",
        "ขอบคุณ",
        "สวัสดี",
        "อะไร",
        "ใคร",
        "ที่ไหน",
        "เมื่อไหร่",
        "ทำไม",
    ),
    *("อย่างไร", "ផ្សេងៗ", "សំណួរ", "ជំនួយ"),
)
# words that only lead to what a title is about
_ASKER = r"(?:(?:the\s+)?(?:user|customer|people|human)s?(?:'s?|s'|’s?)?\s+)?"
_KIND = (
    r"(?:(?:general|various|diverse|different|miscellaneous|common|specific|basic|several|some|many)\s+)*"
    r"(?:quer(?:y|ies)|questions?|requests?|inquir(?:y|ies)|enquir(?:y|ies)|prompts?|messages?|conversations?|"
    r"discussions?|topics?|texts?|issues?|help|assistance|information|info|details)"
)
PREAMBLES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"^{_ASKER}{_KIND}(?:\s+and\s+{_KIND})*\s+(?:about|on|regarding|concerning|relat(?:ed|ing)\s+to|for|around|of|with|"
        rf"involving|covering|that\s+\w+)\s+",
        r"^(?:the\s+)?(?:users?|customers?|people)\s+(?:who\s+)?(?:ask(?:s|ed|ing)?|want(?:s|ed|ing)?|need(?:s|ed|ing)?|"
        r"inquir(?:e|es|ed|ing)|request(?:s|ed|ing)?|seek(?:s|ing)?)\s+(?:(?:about|for|to|how)\s+)?",
        r"^(?:asking|inquiring|wondering)\s+(?:about|for|how|what|whether)\s+",
        r"^(?:please|pls|can\s+you|could\s+you|tell\s+me(?:\s+about)?|help\s+me(?:\s+with)?|i\s+(?:want|need)(?:\s+to)?|"
        r"i\s+would\s+like(?:\s+to)?|i'd\s+like(?:\s+to)?|what\s+(?:is|are|was|were)|what's)\s+",
        r"^(?:cluster|group|topic|category)\s+(?:\d+\s*[:.-]|of|about|on)\s*",
        r"^(?:benutzer|nutzer)?(?:fragen|anfragen|frage|anfrage|hilfe)\s+(?:zu[mr]?|über|nach|bei|mit)\s+",
        r"^(?:questions?|demandes?|requêtes?|aide)\s+(?:sur|concernant|à\s+propos\s+d[eu']|de|d'|pour|relatives?\s+[àa]ux?)\s*",
        r"^(?:preguntas?|consultas?|solicitud(?:es)?|ayuda)\s+(?:sobre|de|acerca\s+de|con|para)\s+",
        r"^(?:perguntas?|consultas?|pedidos?|ajuda)\s+(?:sobre|de|com|para)\s+",
        r"^(?:domande|domanda|richieste|richiesta|aiuto)\s+(?:su[l]?l?a?|riguardo|di|per|con)\s+",
        r"^(?:вопросы?|запросы?|помощь)\s+(?:о|об|про|по|с|на\s+тему)\s+",
        r"^(?:用户)?(?:关于|關於|有关)",
        r"^(?:أسئلة|اسئلة|سؤال|طلبات)\s+(?:عن|حول)\s+",
    )
)
PLACEHOLDER = re.compile(
    r"^(?:cluster|group|topic|category|class|label|gruppe|thema|groupe|grupo|группа|кластер)\W*\d+$"
)


def is_generic(title: str) -> str | None:
    """Why a title says too little to name a cluster; None where it says something.

    Example:
        >>> is_generic("User queries about Python")
        "begins with 'User queries about'"
        >>> is_generic("Please tell me")
        'holds only words that fit every cluster'
        >>> is_generic("Lost or stolen card")
    """
    text = " ".join(title.split())
    if not any(character.isalpha() for character in text):
        return "has no word" if text else "is empty"
    words = _words(text)
    if PLACEHOLDER.match(" ".join(words)):
        return "is a placeholder"
    if all(_says_nothing(word) for word in words):
        return "holds only words that fit every cluster"
    for preamble in PREAMBLES:
        if found := preamble.match(text):
            return f"begins with {found.group().strip()!r}"
    return None


def without_preamble(title: str) -> str:
    """The title without the words that only lead to it ("User queries about"), or as it is where nothing is left.

    Example:
        >>> without_preamble("Questions about lost cards")
        'Lost cards'
    """
    text = " ".join(title.split())
    while True:
        shorter = next((rest for preamble in PREAMBLES if (rest := preamble.sub("", text, count=1)) != text), text)
        if shorter == text or not any(character.isalpha() for character in shorter):
            return sentence_case(text)
        text = shorter


def normalized(title: str) -> str:
    """What two titles have in common when people would read them as one: no case, punctuation, articles or plural s.

    Example:
        >>> normalized("The Lost Cards!") == normalized("lost card")
        True
    """
    words = [word.removesuffix("'s") for word in _words(title)]
    kept = [word for word in words if word not in ("a", "an", "the")] or words
    return " ".join(_singular(word) for word in kept) or " ".join(title.split())


def unique(candidates: Sequence[Iterable[str]], taken: Collection[str] = ()) -> list[str]:
    """Of each cluster the first candidate that no cluster before it has: no two are the same, none is in ``taken``.

    A cluster whose candidates are all taken gets its first one with a number, or "Cluster" where it has none.

    Example:
        >>> unique([["Lost card", "Stolen card"], ["lost cards", "Card theft"]])
        ['Lost card', 'Card theft']
    """
    used = {normalized(title) for title in taken}
    chosen = []
    for own in candidates:
        first = None
        for title in own:
            first = title if first is None else first
            if normalized(title) not in used:
                break
        else:
            title = numbered(first or "Cluster", used)
        used.add(normalized(title))
        chosen.append(title)
    return chosen


def numbered(title: str, used: Collection[str]) -> str:
    """The title with the first number from 2 on that makes it another than those in ``used`` (normalized)."""
    number = 2
    while normalized(f"{title} ({number})") in used:
        number += 1
    return f"{title} ({number})"


def sentence_case(title: str) -> str:
    """The title with a capital at its start."""
    return title[:1].upper() + title[1:]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()


def _words(text: str) -> list[str]:
    """The words of a folded text; marks belong to their letters, and "C++" and "C#" are not "C"."""
    parted = [c if c.isalnum() or c in "'+#" or unicodedata.category(c)[0] == "M" else " " for c in _folded(text)]
    return [word for part in "".join(parted).split() if (word := part.strip("'"))]


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _says_nothing(word: str) -> bool:
    if word in _vague() or word.replace("'", "") in _vague() or not any(character.isalpha() for character in word):
        return True
    if word.isascii():
        return len(word) == 1
    for part in _vague_unspaced():
        word = word.replace(part, "")
    return not word


@cache
def _vague() -> frozenset[str]:
    return frozenset(_folded(word) for words in VAGUE.values() for word in words.split())


@cache
def _vague_unspaced() -> tuple[str, ...]:
    """The longest first: what is left of a longer one is no word."""
    return tuple(sorted(map(_folded, VAGUE_UNSPACED), key=len, reverse=True))
