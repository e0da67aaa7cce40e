"""The material of the synthetic sample: topics, their templates in five languages, and what fills the slots.

Only data; `sample` puts it together.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ANSWERS", "FOLLOW_UPS", "OPENERS", "QUALIFIERS", "TOPICS"]


def _topic(
    slots: dict[str, list[str]], en: list[str], de: list[str], es: list[str], fr: list[str], zh: list[str]
) -> dict[str, Any]:
    templates = {"English": en, "German": de, "Spanish": es, "French": fr, "Chinese": zh}
    return {"slots": slots, "templates": templates}


OPENERS: dict[str, list[str]] = {
    "English": ["", "", "", "hi, ", "please help: ", "quick question: ", "hey! ", "one more thing, "],
    "German": ["", "", "Hallo, ", "Kurze Frage: ", "Bitte hilf mir: "],
    "Spanish": ["", "", "Hola, ", "Una pregunta: ", "Por favor, "],
    "French": ["", "", "Bonjour, ", "Petite question : ", "S'il te plaît, "],
    "Chinese": ["", "", "你好，", "请问，", "帮我一下，"],
}
QUALIFIERS: dict[str, list[str]] = {
    "English": [
        "",
        "",
        "",
        " step by step",
        " in simple words",
        " with an example",
        " in one paragraph",
        " in detail",
        " for a beginner",
        " as a short list",
    ],
    "German": ["", "", " Schritt für Schritt", " mit einem Beispiel", " in einfachen Worten"],
    "Spanish": ["", "", " paso a paso", " con un ejemplo", " en pocas palabras"],
    "French": ["", "", " étape par étape", " avec un exemple", " en termes simples"],
    "Chinese": ["", "", "，请一步一步说明", "，请举个例子", "，请简单一点"],
}
FOLLOW_UPS: dict[str, list[str]] = {
    "English": [
        "Can you make that shorter?",
        "Thanks! Can you give another example?",
        "Why is that?",
        "That is not what I meant.",
        "Please explain the second point again.",
    ],
    "German": ["Geht das auch kürzer?", "Danke! Noch ein Beispiel, bitte.", "Warum ist das so?"],
    "Spanish": ["¿Puedes hacerlo más corto?", "¡Gracias! ¿Otro ejemplo?", "¿Por qué es así?"],
    "French": ["Peux-tu faire plus court ?", "Merci ! Un autre exemple ?", "Pourquoi ?"],
    "Chinese": ["可以再短一点吗？", "谢谢！再举一个例子。", "为什么？"],
}
ANSWERS: dict[str, list[str]] = {
    "English": [
        "(synthetic answer) Here is a short overview of {topic}.",
        "(synthetic answer) It depends. Three points about {topic} matter most.",
        "(synthetic answer) Sure! Let us go through it one by one.",
    ],
    "German": ["(synthetische Antwort) Hier ist ein kurzer Überblick.", "(synthetische Antwort) Gern, der Reihe nach."],
    "Spanish": ["(respuesta sintética) Aquí tienes un resumen.", "(respuesta sintética) Claro, vamos por partes."],
    "French": ["(réponse synthétique) Voici un aperçu.", "(réponse synthétique) Bien sûr, procédons par étapes."],
    "Chinese": ["（合成回答）下面是简要说明。", "（合成回答）好的，我们一步一步来。"],
}

TOPICS: dict[str, dict[str, Any]] = {
    "python programming": _topic(
        {
            "x": [
                "a list of dictionaries",
                "a large list",
                "a dictionary",
                "a nested list",
                "a string",
                "a tuple",
                "a set of numbers",
            ],
            "y": ["sort", "filter", "reverse", "flatten", "copy", "iterate over", "merge"],
        },
        [
            "how do I {y} {x} in Python",
            "write a Python function to {y} {x}",
            "why does my Python code fail when I {y} {x}",
            "what is the fastest way to {y} {x} in Python",
        ],
        ["wie kann ich in Python {x} bearbeiten ({y})", "schreibe eine Python-Funktion, um {x} zu verarbeiten: {y}"],
        ["cómo puedo hacer {y} con {x} en Python", "escribe una función de Python para {y} {x}"],
        ["comment faire {y} sur {x} en Python", "écris une fonction Python pour {y} {x}"],
        ["怎么用 Python 处理 {x}（{y}）", "写一个 Python 函数来 {y} {x}"],
    ),
    "sql databases": _topic(
        {
            "x": ["orders", "customers", "employees", "invoices", "products", "payments"],
            "y": [
                "duplicate rows",
                "the second highest value",
                "missing dates",
                "the monthly totals",
                "the latest record",
            ],
        },
        [
            "write a SQL query to find {y} in the {x} table",
            "how do I join {x} with {x} in SQL to get {y}",
            "why is my SQL query for {y} on {x} so slow",
            "explain which index helps a SQL query for {y} on {x}",
        ],
        [
            "schreibe eine SQL-Abfrage, die {y} in der Tabelle {x} findet",
            "warum ist meine SQL-Abfrage auf {x} so langsam",
        ],
        ["escribe una consulta SQL para encontrar {y} en la tabla {x}", "por qué es lenta mi consulta SQL sobre {x}"],
        ["écris une requête SQL pour trouver {y} dans la table {x}", "pourquoi ma requête SQL sur {x} est-elle lente"],
        ["写一个 SQL 查询，在 {x} 表中找出 {y}", "为什么我对 {x} 表的 SQL 查询这么慢"],
    ),
    "cooking recipes": _topic(
        {
            "x": [
                "lasagna",
                "chicken curry",
                "risotto",
                "pancakes",
                "tomato soup",
                "ramen",
                "paella",
                "lentil stew",
                "apple pie",
            ],
            "y": ["without dairy", "for six people", "in thirty minutes", "without an oven", "on a budget"],
        },
        [
            "give me a recipe for {x} {y}",
            "how do I cook {x} {y}",
            "what ingredients do I need to cook {x} {y}",
            "how long should {x} cook {y}",
        ],
        ["gib mir ein Rezept für {x}", "welche Zutaten brauche ich zum Kochen von {x}"],
        ["dame una receta de {x}", "qué ingredientes necesito para cocinar {x}"],
        ["donne-moi une recette de {x}", "quels ingrédients faut-il pour cuisiner {x}"],
        ["给我一个 {x} 的食谱", "做 {x} 需要什么食材"],
    ),
    "travel planning": _topic(
        {
            "x": ["Rome", "Tokyo", "Lisbon", "Marrakesh", "Vienna", "Bangkok", "Buenos Aires", "Edinburgh", "Hanoi"],
            "y": ["three", "four", "five", "seven", "ten"],
        },
        [
            "plan a trip of {y} days to {x}",
            "what are the best sights to visit in {x} in {y} days",
            "which hotels near the centre of {x} do you recommend for {y} nights",
            "what should I pack for {y} days of travel in {x}",
        ],
        ["plane eine Reise von {y} Tagen nach {x}", "welche Sehenswürdigkeiten in {x} lohnen sich"],
        ["planea un viaje de {y} días a {x}", "qué lugares debo visitar en {x}"],
        ["planifie un voyage de {y} jours à {x}", "que faut-il visiter à {x}"],
        ["帮我计划去 {x} 的 {y} 天旅行", "去 {x} 旅游有哪些景点值得看"],
    ),
    "mathematics": _topic(
        {
            "x": [
                "x squared",
                "sin of x",
                "the natural logarithm of x",
                "e to the x",
                "x cubed plus two x",
                "one over x",
                "the square root of x",
            ],
            "y": ["from zero to one", "from one to two", "at x equals three", "for positive x"],
        },
        [
            "calculate the derivative of {x} {y}",
            "solve the integral of {x} {y}",
            "prove that {x} is continuous {y}",
            "find the limit of {x} {y} in calculus",
        ],
        ["berechne die Ableitung von {x}", "löse das Integral von {x}"],
        ["calcula la derivada de {x}", "resuelve la integral de {x}"],
        ["calcule la dérivée de {x}", "résous l'intégrale de {x}"],
        ["计算 {x} 的导数", "求 {x} 的积分"],
    ),
    "job applications": _topic(
        {
            "x": [
                "nurse",
                "software engineer",
                "teacher",
                "accountant",
                "sales manager",
                "data analyst",
                "electrician",
                "graphic designer",
            ],
            "y": ["a hospital", "a startup", "a bank", "a school", "a large company"],
        },
        [
            "write a cover letter for a {x} job at {y}",
            "improve my resume for a position as {x} at {y}",
            "which interview questions will a {x} get at {y}",
            "how do I ask for a higher salary as a {x} at {y}",
        ],
        ["schreibe ein Bewerbungsschreiben als {x} bei {y}", "verbessere meinen Lebenslauf für eine Stelle als {x}"],
        ["escribe una carta de presentación para un puesto de {x}", "mejora mi currículum para el trabajo de {x}"],
        ["écris une lettre de motivation pour un poste de {x}", "améliore mon CV pour un emploi de {x}"],
        ["帮我写一封应聘 {x} 的求职信", "帮我改进应聘 {x} 的简历"],
    ),
    "medical symptoms": _topic(
        {
            "x": [
                "a headache",
                "a sore throat",
                "back pain",
                "a skin rash",
                "a fever",
                "chest pain",
                "a dry cough",
                "knee pain",
            ],
            "y": ["two days", "a week", "a month", "last night"],
        },
        [
            "I have had {x} since {y} ago, what could be the cause",
            "when should I see a doctor about {x} after {y}",
            "which home remedies help against {x} lasting {y}",
            "is {x} for {y} a symptom of something serious",
        ],
        ["ich habe seit {y} {x}, was kann die Ursache sein", "wann sollte ich mit {x} zum Arzt gehen"],
        ["tengo {x} desde hace {y}, cuál puede ser la causa", "cuándo debo ir al médico por {x}"],
        ["j'ai {x} depuis {y}, quelle peut être la cause", "quand faut-il voir un médecin pour {x}"],
        ["我有 {x} 已经 {y} 了，是什么原因", "{x} 什么时候需要看医生"],
    ),
    "poetry": _topic(
        {
            "x": [
                "autumn leaves",
                "the sea",
                "a lost love",
                "the moon",
                "an old tree",
                "winter rain",
                "my grandmother",
                "a sleeping city",
            ],
            "y": ["sonnet", "haiku", "limerick", "ballad", "free verse poem"],
        },
        [
            "write a {y} about {x}",
            "compose a sad {y} on {x} with rhymes",
            "continue this {y} about {x}",
            "what makes a good {y} about {x}",
        ],
        ["schreibe ein Gedicht ({y}) über {x}", "dichte einen Reim über {x}"],
        ["escribe un poema ({y}) sobre {x}", "componga unos versos sobre {x}"],
        ["écris un poème ({y}) sur {x}", "compose des vers sur {x}"],
        ["写一首关于 {x} 的诗（{y}）", "以 {x} 为题作诗"],
    ),
    "world history": _topic(
        {
            "x": [
                "the Roman Empire",
                "the French Revolution",
                "the Ottoman Empire",
                "the Cold War",
                "the Ming dynasty",
                "the Industrial Revolution",
                "the First World War",
            ],
            "y": ["begin", "end", "spread", "matter to Europe"],
        },
        [
            "why did {x} {y}",
            "what were the main causes that made {x} {y} in history",
            "who were the leaders of {x}, and how did it {y}",
            "summarize the history of {x} and how it came to {y}",
        ],
        ["was waren die Ursachen von {x} in der Geschichte", "fasse die Geschichte von {x} zusammen"],
        ["cuáles fueron las causas de {x} en la historia", "resume la historia de {x}"],
        ["quelles furent les causes de {x} dans l'histoire", "résume l'histoire de {x}"],
        ["{x} 的历史原因是什么", "总结一下 {x} 的历史"],
    ),
    "fitness training": _topic(
        {
            "x": ["legs", "shoulders", "abs", "back muscles", "arms", "endurance"],
            "y": ["at home", "without equipment", "three times a week", "with dumbbells", "after an injury"],
        },
        [
            "make a workout plan for {x} {y}",
            "which exercises train {x} {y}",
            "how many sets of exercise for {x} should I do {y}",
            "how do I build muscle in my {x} {y}",
        ],
        ["erstelle einen Trainingsplan für {x}", "welche Übungen trainieren {x}"],
        ["haz un plan de entrenamiento para {x}", "qué ejercicios sirven para {x}"],
        ["fais un programme d'entraînement pour {x}", "quels exercices pour {x}"],
        ["制定一个锻炼 {x} 的健身计划", "哪些运动可以锻炼 {x}"],
    ),
    "personal finance": _topic(
        {
            "x": [
                "a mortgage",
                "a credit card debt",
                "an index fund",
                "a pension plan",
                "a student loan",
                "a savings account",
            ],
            "y": ["at thirty", "with a low income", "during inflation", "before retirement"],
        },
        [
            "is it wise to have {x} {y}",
            "how much money should I put into {x} {y}",
            "compare interest rates of {x} {y}",
            "how do I pay for {x} {y} with my monthly budget",
        ],
        ["lohnt sich {x} finanziell", "wie viel Geld sollte ich in {x} stecken"],
        ["conviene tener {x} para mis finanzas", "cuánto dinero debo poner en {x}"],
        ["est-il judicieux d'avoir {x} pour mes finances", "combien d'argent mettre dans {x}"],
        ["{x} 在理财上划算吗", "我应该在 {x} 上投入多少钱"],
    ),
    "gardening": _topic(
        {
            "x": ["tomatoes", "roses", "basil", "cucumbers", "lavender", "strawberries", "a lemon tree"],
            "y": ["in pots", "in clay soil", "on a balcony", "in the shade", "in spring"],
        },
        [
            "how do I grow {x} {y}",
            "why are the leaves of my {x} yellow {y}",
            "how often should I water {x} {y}",
            "when should I plant {x} {y} in my garden",
        ],
        ["wie pflanze ich {x} im Garten", "warum werden die Blätter meiner {x} gelb"],
        ["cómo cultivo {x} en el jardín", "por qué se ponen amarillas las hojas de {x}"],
        ["comment cultiver {x} au jardin", "pourquoi les feuilles de {x} jaunissent-elles"],
        ["怎么在花园里种 {x}", "为什么 {x} 的叶子变黄"],
    ),
    "machine learning": _topic(
        {
            "x": [
                "a neural network",
                "a random forest",
                "a transformer",
                "a support vector machine",
                "gradient boosting",
                "a convolutional network",
            ],
            "y": ["overfitting", "the learning rate", "missing labels", "class imbalance", "the loss function"],
        },
        [
            "explain {y} when training {x}",
            "how do I tune {x} with respect to {y}",
            "what is the role of {y} in {x} for machine learning",
            "why does {x} suffer from {y} on my training data",
        ],
        ["erkläre {y} beim Training von {x}", "wie funktioniert {x} im maschinellen Lernen"],
        ["explica {y} al entrenar {x}", "cómo funciona {x} en aprendizaje automático"],
        ["explique {y} lors de l'entraînement de {x}", "comment fonctionne {x} en apprentissage automatique"],
        ["解释训练 {x} 时的 {y}", "{x} 在机器学习中如何工作"],
    ),
    "pet care": _topic(
        {
            "x": ["my cat", "my puppy", "my rabbit", "my parrot", "my old dog", "my hamster"],
            "y": ["at night", "after the vet visit", "when I am away", "since we moved"],
        },
        [
            "why does {x} refuse food {y}",
            "how do I calm {x} {y}",
            "how can I train {x} to behave {y}",
            "what should {x} as a pet eat {y}",
        ],
        ["warum frisst {x} nicht", "wie erziehe ich {x}"],
        ["por qué no come {x}", "cómo educo a {x}"],
        ["pourquoi {x} ne mange pas", "comment dresser {x}"],
        ["为什么 {x} 不吃东西", "怎么训练 {x}"],
    ),
    "movies": _topic(
        {
            "x": ["science fiction", "horror", "romantic comedy", "film noir", "animation", "western", "war drama"],
            "y": ["from the nineties", "with a twist ending", "for a family evening", "by a female director"],
        },
        [
            "recommend a {x} movie {y}",
            "list the best {x} films {y}",
            "which {x} movie {y} won an Oscar",
            "write a review of a {x} film {y}",
        ],
        ["empfiehl mir einen Film: {x}", "nenne die besten Filme der Art {x}"],
        ["recomiéndame una película de {x}", "cuáles son las mejores películas de {x}"],
        ["recommande-moi un film de {x}", "quels sont les meilleurs films de {x}"],
        ["推荐一部 {x} 电影", "最好的 {x} 电影有哪些"],
    ),
    "email writing": _topic(
        {
            "x": ["my boss", "a customer", "my landlord", "a professor", "a colleague", "the support team"],
            "y": ["about a delay", "to ask for a day off", "to apologize", "to say thank you", "about a broken heater"],
        },
        [
            "draft a polite email to {x} {y}",
            "rewrite this email to {x} {y} more formally",
            "write a subject line for an email to {x} {y}",
            "how do I end an email to {x} {y}",
        ],
        ["schreibe eine höfliche E-Mail an {x}", "formuliere diese E-Mail an {x} förmlicher"],
        ["escribe un correo amable a {x}", "reescribe este correo a {x} más formal"],
        ["rédige un e-mail poli à {x}", "reformule cet e-mail à {x}"],
        ["给 {x} 写一封礼貌的邮件", "把给 {x} 的邮件改得更正式"],
    ),
    "space and astronomy": _topic(
        {
            "x": [
                "black holes",
                "Mars",
                "Saturn's rings",
                "neutron stars",
                "the James Webb telescope",
                "dark matter",
                "comets",
            ],
            "y": ["form", "change over time", "affect the galaxy", "appear from Earth"],
        },
        [
            "how do {x} {y}",
            "what do astronomers know about how {x} {y}",
            "explain to a child how {x} {y} in space",
            "how far away are {x}, and how do they {y}",
        ],
        ["wie entstehen {x} im Weltall", "was wissen Astronomen über {x}"],
        ["cómo se forman {x} en el espacio", "qué saben los astrónomos de {x}"],
        ["comment se forment {x} dans l'espace", "que savent les astronomes sur {x}"],
        ["{x} 在太空中是怎么形成的", "天文学家对 {x} 了解多少"],
    ),
    "web development": _topic(
        {
            "x": [
                "a navigation bar",
                "a login form",
                "a modal dialog",
                "a responsive grid",
                "a dropdown menu",
                "a button",
            ],
            "y": ["React", "plain CSS", "HTML and JavaScript", "Tailwind", "Vue"],
        },
        [
            "how do I center {x} with {y}",
            "write the code of {x} in {y}",
            "why is {x} not displayed with {y} in the browser",
            "make {x} accessible on a website with {y}",
        ],
        ["wie baue ich {x} mit {y} auf einer Webseite", "schreibe den Code für {x} in {y}"],
        ["cómo hago {x} con {y} en una página web", "escribe el código de {x} en {y}"],
        ["comment faire {x} avec {y} sur un site web", "écris le code de {x} en {y}"],
        ["怎么用 {y} 在网页上做 {x}", "用 {y} 写 {x} 的代码"],
    ),
    "language learning": _topic(
        {
            "x": ["Japanese", "Italian", "Arabic", "Korean", "Portuguese", "Russian", "Swedish"],
            "y": ["verbs", "greetings", "pronunciation", "articles", "numbers", "vocabulary"],
        },
        [
            "how do I learn {x} {y}",
            "translate these {y} into {x}",
            "explain the grammar of {x} {y}",
            "give me an exercise to practise {x} {y}",
        ],
        ["wie lerne ich {x}: {y}", "erkläre die Grammatik von {x}"],
        ["cómo aprendo {x}: {y}", "explica la gramática de {x}"],
        ["comment apprendre le {x} : {y}", "explique la grammaire du {x}"],
        ["怎么学习 {x} 的 {y}", "解释 {x} 的语法"],
    ),
    "role play games": _topic(
        {
            "x": ["a wizard", "a pirate captain", "a detective", "an elf ranger", "a space smuggler", "a dragon"],
            "y": ["in a dark dungeon", "in a haunted castle", "on a stormy ship", "in a tavern", "in a ruined city"],
        },
        [
            "pretend to be {x} {y} and talk to me",
            "let us play a role-playing game where I am {x} {y}",
            "create a fantasy character sheet for {x} {y}",
            "you are {x} {y}, what do you do next in the adventure",
        ],
        ["spiele die Rolle von {x}", "lass uns ein Rollenspiel mit {x} spielen"],
        ["haz el papel de {x}", "juguemos a un juego de rol con {x}"],
        ["joue le rôle de {x}", "jouons à un jeu de rôle avec {x}"],
        ["请扮演 {x} 和我说话", "我们来玩 {x} 的角色扮演游戏"],
    ),
}
