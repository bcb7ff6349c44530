"""Questions with their contexts and parameters, for make_answers.py."""

BRIDGE = (
    "The footbridge at Harrow Lock was designed by Ines Calloway and opened on 14 May 1998. It is 86 metres long, weighs "
    "forty-one tonnes and carries about 3,200 people a day. Its deck is made of oak from a forest near Ludlow; the arch "
    "below it is of weathering steel, which was chosen because it needs no paint. In the flood of 2007 the water reached "
    "the deck, and the bridge was closed for eleven weeks while divers looked at its foundations. The repair cost £240,000, "
    "of which the county paid two thirds."
)
PLACES = (
    "Zoë Đorđević moved from Škofja Loka to São Paulo in 2011. Her café, Cafe\u0301 Niño, sells crème brûlée for R$12. "
    "Its sign reads 東京の珈琲, and below it stands ☕🙂👩‍🍳. On Sundays the choir of Saint-Étienne sings there; its conductor "
    "is Ångström-prize winner Łukasz Wójcik. The walls were painted by her brother, Ðuro, who lives in Reykjavík."
)
TWICE = (
    "The red team won in Oslo. The green team lost in Oslo and won in Bergen. In the final, played in BERGEN, the red team "
    "met the green team again. The cup stayed in Bergen, and the teams flew home from oslo."
)
DATES = "2019-03-07T10:15Z: v1.2.3-rc4 released; 2019-03-09: rolled back (see bug #4711). Contact: ops@example.org, +47-22-33."
SHORT = "Mauve."

MANUAL = [
    "The pump starts when the level in the upper tank falls under forty centimetres and stops when it is over ninety. A "
    "float in the lower tank keeps it from running dry. Whoever wants to change these figures needs the engineer's key.",
    "Every Monday the filter is rinsed by hand for ten minutes; every third month it is replaced. Filters are kept in "
    "the grey cupboard behind the boiler, and an order for new ones goes to Brandt & Sons in Kiel when fewer than four "
    "are left.",
    "The alarm has three levels. Yellow asks for a look within a day. Orange calls the engineer on duty by telephone. Red "
    "closes the main valve at once and wakes the site manager, Theodora Quist, who alone may open it again.",
    "Water samples are taken at the north tap at six in the morning. The laboratory in Husum answers within two days. "
    "Nitrate must be under 50 milligrams a litre; the highest value so far, 47, was measured in August 2016.",
    "The boiler was built in 1987 and has been inspected in every odd year since. Its safety valve opens at six bar. The "
    "next inspection is due before the end of October and is paid for by the landlord.",
    "Visitors sign the book at the gate and wear a yellow helmet. Photographs are allowed in the hall and forbidden in "
    "the control room, where the picture of the founder, Wilhelm Ostergaard, hangs over the door.",
    "In winter the outer pipes are drained before the first frost, as a rule in the second week of November. In the "
    "winter of 2010 this was forgotten, two pipes burst, and the town was without water for nine hours.",
]
# Long enough for several windows of 384.
LONG = " ".join(MANUAL) + "\n\n" + " ".join(reversed(MANUAL)).replace("Kiel", "Flensburg") + "\n\n" + " ".join(MANUAL[2:])

CASES = [
    (BRIDGE, "Who designed the footbridge?", {}),
    (BRIDGE, "How long is the bridge?", {"top_k": 5}),
    (BRIDGE, "Why was weathering steel chosen?", {"max_answer_len": 40}),
    (BRIDGE, "How much did the repair cost?", {"top_k": 3, "handle_impossible_answer": True}),
    (BRIDGE, "What is the name of the king of Spain?", {"handle_impossible_answer": True}),
    (BRIDGE, "How many people use it each day?", {"max_answer_len": 1, "top_k": 4}),
    (BRIDGE, "When was it opened?", {"max_seq_len": 48, "doc_stride": 16, "top_k": 4}),
    (BRIDGE, "For how long was the bridge closed?", {"max_seq_len": 40, "doc_stride": 0, "top_k": 2}),
    (BRIDGE, "Where is the oak from?", {"max_seq_len": 512, "doc_stride": 200, "max_answer_len": 100, "top_k": 2}),
    (PLACES, "Where did Zoë move to?", {"top_k": 3}),
    (PLACES, "What does the sign read?", {"top_k": 8}),
    (PLACES, "Who conducts the choir?", {"max_seq_len": 64, "doc_stride": 20, "top_k": 6}),
    (PLACES, "What does the café sell?", {"handle_impossible_answer": True, "top_k": 5}),
    (PLACES, "Where does her brother live?", {"max_seq_len": 32, "doc_stride": 12, "top_k": 3}),
    (TWICE, "Where was the final played?", {"top_k": 6}),
    (TWICE, "Which team won in Oslo?", {"top_k": 10, "max_seq_len": 30, "doc_stride": 10}),
    (DATES, "What was released?", {"top_k": 5}),
    (DATES, "Whom can I contact?", {"top_k": 3, "max_answer_len": 30}),
    (SHORT, "Which colour is it?", {}),
    (SHORT, "Which colour is it?", {"handle_impossible_answer": True}),
    (LONG, "Where are the filters kept?", {"top_k": 3}),
    (LONG, "Who may open the main valve again?", {"handle_impossible_answer": True, "top_k": 4}),
    (LONG, "When are the outer pipes drained?", {"doc_stride": 64}),
    (LONG, "Which firm delivers new filters?", {"max_seq_len": 200, "doc_stride": 100, "top_k": 5}),
    (LONG, "What is the highest nitrate value so far?", {"max_seq_len": 100, "top_k": 2}),
    ("  \n" + BRIDGE + " \t\n", "  Who paid two thirds?\n", {"top_k": 2}),
]
