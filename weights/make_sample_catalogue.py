#!/usr/bin/env python3
"""Writes the items of the sample catalogue: films that nobody has made, put together by rule.

  make_sample_catalogue.py > sample-catalogue.tsv
  distild catalogue build sample-catalogue.tsv -o sample.catalogue

The same bytes every time. An id is a title, the text says what the film is about.
"""

GENRES = {
    "drama": (
        ["a retired {who}", "two sisters", "a widowed {who}", "a young {who}", "a father and his grown daughter"],
        ["had to decide whether to sell the family house", "learned to speak again after a long illness",
         "went back to the village that once drove the family out", "kept a promise that cost a career",
         "wrote letters to someone who would never answer"],
        "quiet and patient, carried by its faces",
    ),
    "comedy": (
        ["a clumsy {who}", "three flatmates", "a {who} unable to lie", "a nervous bridegroom", "an honest {who}"],
        ["ended up at the wrong wedding and had to give the speech", "inherited a hotel full of stubborn guests",
         "posed as a famous chef for one weekend", "tried to return a stolen goat before anybody noticed",
         "came to town and was taken for the new mayor"],
        "quick, silly and kind to everyone in it",
    ),
    "thriller": (
        ["a sleepless {who}", "a {who} with a secret", "a courier", "a witness nobody believed", "a suspended {who}"],
        ["found a phone that kept ringing with the same voice", "had one night to clear a friend's name",
         "saw too late that the evidence had been arranged", "followed a stranger and was followed in turn",
         "had to carry a parcel across the city without opening it"],
        "tight and cold, with hardly a wasted minute",
    ),
    "science fiction": (
        ["the last {who} of a mining station", "a {who} of the far future", "a crew of five", "a machine built to comfort",
         "a copied {who}"],
        ["received a message from tomorrow", "woke up a century too late", "had to vote on whether to turn back",
         "discovered that the sky was being repaired", "tried to teach a planet to forget"],
        "full of ideas, and sad about the right things",
    ),
    "romance": (
        ["a shy {who} and a postman", "two rival bakers", "a {who} and a travelling musician", "old school friends",
         "a {who} and a lighthouse keeper"],
        ["shared an umbrella and then a summer", "fell for each other by letters left in library books",
         "met on every ferry but never on land", "agreed to part at the end of the harvest",
         "got snowed in with a kettle and one blanket"],
        "warm and a little old-fashioned",
    ),
    "horror": (
        ["a night {who}", "a family of four", "a {who} in a rented house", "a choir on tour", "a curious {who}"],
        ["heard the well answer", "woke a thing that only moved when it was named",
         "found one room more every morning", "came to a supper where no guest cast a shadow",
         "dug up what the village had agreed to bury"],
        "slow dread more than blood, and very dark",
    ),
    "documentary": (
        ["a {who}", "a {who} of ninety", "a family of beekeepers", "a {who} and her pupils", "the crew of a ferry"],
        ["went through the busiest week of the year", "stayed while a glacier left the valley",
         "closed the last workshop of its kind", "told what the war had left out",
         "lived from one spring to the next"],
        "clear-eyed, generous and short",
    ),
    "animation": (
        ["a paper fox", "a small robot {who}", "a lighthouse keeper's cat", "a boy who could talk to clouds", "an impatient snail"],
        ["crossed a city to return a lost button", "learned why the moon was late", "opened a bakery for birds",
         "had to find a new colour before winter", "built a boat out of forgotten songs"],
        "drawn by hand, for children and whoever is with them",
    ),
    "western": (
        ["a tired {who}", "two brothers with one horse", "a {who} turned sheriff", "a preacher with a past", "a widow with a ranch"],
        ["rode into a town that was waiting for someone else", "guarded a well in the third year of drought",
         "took a prisoner over the mountains before the snow", "bought land that had been promised twice",
         "met the man who had burnt the barn"],
        "dusty and spare, with long silences",
    ),
    "war": (
        ["a field {who}", "a company of engineers", "a {who} behind the lines", "a boy with a bicycle", "two enemies in one cellar"],
        ["carried the wounded out of a burning library", "kept a bridge standing for one more night",
         "sent false reports to save a village", "waited for a letter while the front moved",
         "discovered that the war had been over for days"],
        "sober, and angry underneath",
    ),
    "crime": (
        ["a careful burglar", "a {who} in debt", "a crooked {who}", "a gang of pensioners", "a detective close to retirement"],
        ["planned one last theft from a museum at low tide", "played two families against each other",
         "had to find the informer first", "robbed the bank that had closed their street",
         "took the case that everyone had dropped"],
        "with clever plotting and dry jokes",
    ),
    "adventure": (
        ["a stubborn {who}", "a mapmaker and her nephew", "a {who} without a compass", "a ship's cook", "twins raised by sailors"],
        ["looked for the source of a river that no map agreed on", "raced a storm to the southern cape",
         "climbed the mountain that no one had come back from", "traded a ruby for a balloon",
         "found a city where the clocks ran on tides"],
        "with big skies, old friendships and a good villain",
    ),
}

PEOPLE = [
    "clockmaker", "painter", "doctor", "teacher", "surveyor", "dancer", "bookkeeper", "nurse", "homemaker", "lawyer",
    "librarian", "clerk", "programmer", "gardener", "salesman", "scientist", "student", "mechanic", "writer", "pianist",
    "fisherman", "baker", "tailor", "pilot", "farmer",
]
PLACES = [
    "in a harbour town", "in the mountains", "on the edge of a desert", "in a city that never sleeps", "on an island in winter",
    "in a border village", "on a night train", "in a block of flats", "by a frozen lake", "in the old quarter",
]
FIRST = [
    "Amber", "Broken", "Crooked", "Distant", "Early", "Faithful", "Golden", "Hollow", "Invisible", "Jealous", "Kind", "Lonely",
    "Midnight", "Northern", "Open", "Paper", "Quiet", "Restless", "Silver", "Tender", "Unlit", "Velvet", "Wandering", "Yellow",
    "Second",
]
LAST = [
    "Harbour", "Orchard", "Letters", "Bridge", "Winter", "Mirror", "Kitchen", "Compass", "Garden", "Witness", "Station", "River",
]


def films():
    for g, (genre, (heroes, turns, tone)) in enumerate(GENRES.items()):
        for i in range(25):
            title = f"The {FIRST[i]} {LAST[(g + i) % len(LAST)]}"
            hero = heroes[i % 5].format(who=PEOPLE[(7 * i + 3 * g) % len(PEOPLE)])
            turn, place = turns[(i // 5 + i) % 5], PLACES[(3 * i + g) % len(PLACES)]
            text = f"{hero[0].upper()}{hero[1:]} {turn}, {place}. {genre.capitalize()}, {tone}."
            yield title, text, genre, 1951 + (11 * i + 5 * g) % 73


if __name__ == "__main__":
    print("id\ttext\tgenre\tyear")
    for title, text, genre, year in films():
        print(f"{title}\t{text}\t{genre}\t{year}")
