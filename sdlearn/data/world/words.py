"""The words of the picture world: every noun, colour, place and ground, in English and Japanese.

A caption speaks of these values only; `captions` puts them into sentences.
"""

from typing import NamedTuple


class Noun(NamedTuple):
    """What a thing or an animal is called, and whether it is an animal (or grows, like a tree)."""

    en: str
    ja: str
    lives: bool = False


class Color(NamedTuple):
    """A named colour: its pixels, and how a Japanese caption says it before a noun."""

    hex: str
    ja: str


class Scene(NamedTuple):
    """A place: how it is said after a subject, and in Japanese before one (`の` follows)."""

    en: str
    ja: str
    has_night: bool = False


# The key is the drawing's name in the sets, but for those that are one word in a caption.
NOUNS = {
    "cat": Noun("cat", "ネコ", True),
    "dog": Noun("dog", "犬", True),
    "rabbit": Noun("rabbit", "ウサギ", True),
    "fox": Noun("fox", "キツネ", True),
    "bear": Noun("bear", "クマ", True),
    "penguin": Noun("penguin", "ペンギン", True),
    "owl": Noun("owl", "フクロウ", True),
    "frog": Noun("frog", "カエル", True),
    "turtle": Noun("turtle", "カメ", True),
    "fish": Noun("fish", "魚", True),
    "elephant": Noun("elephant", "ゾウ", True),
    "lion": Noun("lion", "ライオン", True),
    "tiger-face": Noun("tiger", "トラ", True),
    "panda": Noun("panda", "パンダ", True),
    "koala": Noun("koala", "コアラ", True),
    "monkey": Noun("monkey", "サル", True),
    "horse": Noun("horse", "馬", True),
    "cow-face": Noun("cow", "牛", True),
    "pig-face": Noun("pig", "ブタ", True),
    "chicken": Noun("chicken", "ニワトリ", True),
    "duck": Noun("duck", "カモ", True),
    "eagle": Noun("eagle", "ワシ", True),
    "butterfly": Noun("butterfly", "チョウ", True),
    "snail": Noun("snail", "カタツムリ", True),
    "octopus": Noun("octopus", "タコ", True),
    "crab": Noun("crab", "カニ", True),
    "whale": Noun("whale", "クジラ", True),
    "dolphin": Noun("dolphin", "イルカ", True),
    "dragon": Noun("dragon", "ドラゴン", True),
    "unicorn": Noun("unicorn", "ユニコーン", True),
    "mouse-face": Noun("mouse", "ネズミ", True),
    "hamster": Noun("hamster", "ハムスター", True),
    "wolf": Noun("wolf", "オオカミ", True),
    "lady-beetle": Noun("ladybug", "テントウムシ", True),
    "ewe": Noun("sheep", "羊", True),
    "goat": Noun("goat", "ヤギ", True),
    "camel": Noun("camel", "ラクダ", True),
    "red-apple": Noun("apple", "リンゴ"),
    "banana": Noun("banana", "バナナ"),
    "strawberry": Noun("strawberry", "イチゴ"),
    "grapes": Noun("bunch of grapes", "ブドウ"),
    "watermelon": Noun("slice of watermelon", "スイカ"),
    "pizza": Noun("slice of pizza", "ピザ"),
    "hamburger": Noun("hamburger", "ハンバーガー"),
    "doughnut": Noun("doughnut", "ドーナツ"),
    "birthday-cake": Noun("birthday cake", "バースデーケーキ"),
    "soft-ice-cream": Noun("ice cream", "ソフトクリーム"),
    "cookie": Noun("cookie", "クッキー"),
    "bread": Noun("loaf of bread", "パン"),
    "egg": Noun("egg", "卵"),
    "automobile": Noun("car", "車"),
    "bicycle": Noun("bicycle", "自転車"),
    "bus": Noun("bus", "バス"),
    "airplane": Noun("airplane", "飛行機"),
    "rocket": Noun("rocket", "ロケット"),
    "sailboat": Noun("sailboat", "ヨット"),
    "helicopter": Noun("helicopter", "ヘリコプター"),
    "house": Noun("house", "家"),
    "castle": Noun("castle", "城"),
    "tent": Noun("tent", "テント"),
    "deciduous-tree": Noun("tree", "木"),
    "cactus": Noun("cactus", "サボテン"),
    "sunflower": Noun("sunflower", "ヒマワリ"),
    "rose": Noun("rose", "バラ"),
    "tulip": Noun("tulip", "チューリップ"),
    "mushroom": Noun("mushroom", "キノコ"),
    "umbrella": Noun("umbrella", "傘"),
    "guitar": Noun("guitar", "ギター"),
    "trumpet": Noun("trumpet", "トランペット"),
    "backpack": Noun("backpack", "リュックサック"),
    "alarm-clock": Noun("alarm clock", "目覚まし時計"),
    "crown": Noun("crown", "王冠"),
    "top-hat": Noun("top hat", "シルクハット"),
    "soccer-ball": Noun("soccer ball", "サッカーボール"),
    "balloon": Noun("balloon", "風船"),
    "snowman": Noun("snowman", "雪だるま"),
    "ghost": Noun("ghost", "おばけ", True),
    "key": Noun("key", "鍵"),
    "camera": Noun("camera", "カメラ"),
    "books": Noun("pile of books", "本"),
    "mobile-phone": Noun("mobile phone", "携帯電話"),
    "running-shoe": Noun("shoe", "靴"),
    "hot-beverage": Noun("cup of coffee", "コーヒー"),
    "wrapped-gift": Noun("gift", "プレゼント"),
}

GROUND_COLORS = {
    "red": Color("#e5484d", "赤い"),
    "orange": Color("#f59a3c", "オレンジの"),
    "yellow": Color("#ffdb57", "黄色い"),
    "green": Color("#6cc070", "緑の"),
    "turquoise": Color("#4cc9c0", "水色の"),
    "blue": Color("#4f83e8", "青い"),
    "purple": Color("#9464d4", "紫の"),
    "pink": Color("#f8a9c9", "ピンクの"),
    "white": Color("#f8f8f6", "白い"),
    "gray": Color("#9da3a9", "灰色の"),
}

SUBJECT_COLORS = {  # what a drawing's main colour is turned to
    "red": Color("#e0393e", "赤い"),
    "orange": Color("#f58a2c", "オレンジの"),
    "yellow": Color("#f6cf3f", "黄色い"),
    "green": Color("#4bb05a", "緑の"),
    "blue": Color("#3f78e0", "青い"),
    "purple": Color("#8f57d0", "紫の"),
    "pink": Color("#f28bb8", "ピンクの"),
}

PATTERNS = {
    "plain": ("plain", "無地の"),
    "striped": ("striped", "しま模様の"),
    "dotted": ("dotted", "水玉模様の"),
    "checked": ("checked", "チェック柄の"),
}

SCENES = {
    "beach": Scene("on a beach", "海辺", True),
    "forest": Scene("in a forest", "森", True),
    "snow": Scene("in the snow", "雪の中", True),
    "desert": Scene("in a desert", "砂漠", True),
    "city": Scene("in a city", "街", True),
    "meadow": Scene("in a meadow", "草原", True),
    "mountains": Scene("in the mountains", "山", True),
    "underwater": Scene("under water", "海の中"),
    "space": Scene("in space", "宇宙"),
    "room": Scene("in a room", "部屋"),
}

SIZES = {"small": ("small", "小さな"), "large": ("large", "大きな"), "medium": ("", "")}
PLACES = {
    "left": ("on the left", "左側"),
    "right": ("on the right", "右側"),
    "middle": ("in the middle", "真ん中"),
}
