"""The time zone of a place, as people name places."""

# ruff: noqa: E501 - Han characters count twice

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# City, country or abbreviation → IANA name. Names that IANA itself has as a city are not repeated.
_PLACES = {
    "Africa/Abidjan": "ivory coast",
    "Africa/Accra": "ghana",
    "Africa/Addis_Ababa": "ethiopia",
    "Africa/Cairo": "egypt, kairo, alexandria, 开罗, 埃及",
    "Africa/Casablanca": "morocco, rabat, marrakesh, marrakech, fez",
    "Africa/Dar_es_Salaam": "tanzania, zanzibar",
    "Africa/Johannesburg": "south africa, cape town, kapstadt, pretoria, durban, 约翰内斯堡, 南非",
    "Africa/Lagos": "nigeria, abuja, 拉各斯",
    "Africa/Nairobi": "kenya, kenia, 内罗毕",
    "America/Argentina/Buenos_Aires": "buenos aires, argentina, 布宜诺斯艾利斯",
    "America/Bogota": "colombia, bogotá, medellin, medellín, cali",
    "America/Caracas": "venezuela",
    "America/Chicago": "houston, dallas, austin, san antonio, new orleans, minneapolis, memphis, "
    "nashville, st louis, milwaukee, kansas city, texas, cst, cdt, central time, 芝加哥, 休斯顿",
    "America/Denver": "salt lake city, colorado, utah, mst, mdt, mountain time, 丹佛",
    "America/Edmonton": "calgary, alberta",
    "America/Havana": "cuba, havanna",
    "America/Lima": "peru",
    "America/Los_Angeles": "la, san francisco, sf, seattle, san diego, portland, las vegas, "
    "sacramento, san jose, california, silicon valley, pst, pdt, pacific time, 洛杉矶, 旧金山, 西雅图",
    "America/Mexico_City": "mexico, mexiko, guadalajara, méxico, 墨西哥城",
    "America/New_York": "nyc, ny, boston, miami, washington, washington dc, dc, atlanta, "
    "philadelphia, orlando, baltimore, pittsburgh, cleveland, charlotte, florida, est, edt, "
    "eastern time, 纽约, 华盛顿, 波士顿, 迈阿密",
    "America/Phoenix": "arizona, tucson",
    "America/Santiago": "chile, santiago de chile, 圣地亚哥",
    "America/Sao_Paulo": "brazil, brasilien, são paulo, rio, rio de janeiro, brasilia, brasília, "
    "圣保罗, 里约热内卢, 巴西",
    "America/Toronto": "ottawa, montreal, montréal, quebec, 多伦多, 渥太华",
    "America/Vancouver": "british columbia, 温哥华",
    "Asia/Almaty": "kazakhstan, astana",
    "Asia/Baghdad": "iraq, bagdad",
    "Asia/Bangkok": "thailand, 曼谷, 泰国",
    "Asia/Colombo": "sri lanka",
    "Asia/Dhaka": "bangladesh",
    "Asia/Dubai": "uae, abu dhabi, emirates, 迪拜",
    "Asia/Ho_Chi_Minh": "vietnam, hanoi, saigon, ho chi minh city, 河内, 越南",
    "Asia/Hong_Kong": "hk, hongkong, 香港",
    "Asia/Jakarta": "indonesia, indonesien, 雅加达",
    "Asia/Jerusalem": "israel, tel aviv",
    "Asia/Karachi": "pakistan, lahore, islamabad",
    "Asia/Kathmandu": "nepal",
    "Asia/Kolkata": "india, indien, mumbai, bombay, delhi, new delhi, neu-delhi, bangalore, "
    "bengaluru, chennai, hyderabad, pune, calcutta, 孟买, 新德里, 印度",
    "Asia/Kuala_Lumpur": "malaysia, kl, 吉隆坡",
    "Asia/Manila": "philippines, philippinen, 马尼拉",
    "Asia/Riyadh": "saudi arabia, jeddah, mecca, 利雅得",
    "Asia/Seoul": "korea, south korea, südkorea, busan, 首尔, 韩国",
    "Asia/Shanghai": "china, beijing, peking, shenzhen, guangzhou, chengdu, hangzhou, wuhan, "
    "xi'an, nanjing, tianjin, 上海, 北京, 中国, 深圳, 广州, 成都, 杭州, 武汉, 南京",
    "Asia/Singapore": "singapur, sgt, 新加坡",
    "Asia/Taipei": "taiwan, 台北, 台湾",
    "Asia/Tashkent": "uzbekistan",
    "Asia/Tbilisi": "georgia, tiflis",
    "Asia/Tehran": "iran, teheran",
    "Asia/Tokyo": "japan, tokio, osaka, kyoto, nagoya, sapporo, jst, 东京, 日本, 大阪, 京都",
    "Atlantic/Reykjavik": "iceland, island, reykjavík",
    "Australia/Adelaide": "south australia",
    "Australia/Brisbane": "queensland, gold coast",
    "Australia/Melbourne": "victoria, 墨尔本",
    "Australia/Perth": "western australia, 珀斯",
    "Australia/Sydney": "canberra, new south wales, australia, australien, 悉尼, 澳大利亚",
    "Europe/Amsterdam": "netherlands, holland, niederlande, rotterdam, the hague, 阿姆斯特丹",
    "Europe/Athens": "greece, athen, griechenland, 雅典",
    "Europe/Belgrade": "serbia, belgrad",
    "Europe/Berlin": "germany, deutschland, munich, münchen, hamburg, frankfurt, cologne, köln, "
    "stuttgart, düsseldorf, leipzig, cet, cest, 柏林, 德国, 慕尼黑",
    "Europe/Brussels": "belgium, brüssel, belgien, 布鲁塞尔",
    "Europe/Bucharest": "romania, bukarest",
    "Europe/Budapest": "hungary, ungarn",
    "Europe/Copenhagen": "denmark, kopenhagen, dänemark",
    "Europe/Dublin": "ireland, irland, 都柏林",
    "Europe/Helsinki": "finland, finnland, 赫尔辛基",
    "Europe/Istanbul": "turkey, türkei, ankara, izmir, 伊斯坦布尔",
    "Europe/Kyiv": "ukraine, kiev, kiew, odessa, lviv, 基辅",
    "Europe/Lisbon": "portugal, lissabon, porto, 里斯本",
    "Europe/London": "uk, england, britain, great britain, scotland, edinburgh, manchester, "
    "birmingham, liverpool, glasgow, wales, bst, 伦敦, 英国",
    "Europe/Madrid": "spain, spanien, barcelona, valencia, seville, sevilla, 马德里, 巴塞罗那",
    "Europe/Moscow": "russia, russland, moskau, st petersburg, saint petersburg, 莫斯科, 俄罗斯",
    "Europe/Oslo": "norway, norwegen, bergen",
    "Europe/Paris": "france, frankreich, lyon, marseille, nice, toulouse, 巴黎, 法国",
    "Europe/Prague": "czechia, prag, tschechien, 布拉格",
    "Europe/Rome": "italy, italien, rom, milan, mailand, naples, neapel, venice, venedig, "
    "florence, florenz, turin, 罗马, 意大利, 米兰",
    "Europe/Stockholm": "sweden, schweden, gothenburg, göteborg, 斯德哥尔摩",
    "Europe/Vienna": "austria, wien, österreich, salzburg, graz, 维也纳",
    "Europe/Warsaw": "poland, warschau, polen, krakow, krakau, kraków, gdansk, 华沙",
    "Europe/Zurich": "switzerland, schweiz, zürich, geneva, genf, bern, basel, lausanne, 苏黎世",
    "Pacific/Auckland": "new zealand, neuseeland, wellington, christchurch, 奥克兰, 新西兰",
    "Pacific/Honolulu": "hawaii, hst, 夏威夷",
    "UTC": "utc, gmt, greenwich, zulu",
}
_AREAS = (
    "Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian",
    "America/Argentina", "America/Indiana", "Antarctica",
)  # fmt: skip
_ZONES = {
    name.strip(): zone for zone, names in _PLACES.items() for name in (*names.split(","), zone)
}


def zone_of(place: str) -> str | None:
    """The IANA name for a city, a country or a zone in any case, or None when it is not known."""
    name = " ".join(place.replace("_", " ").split()).removeprefix("the ")
    if known := _ZONES.get(name.lower()):
        return known
    written = "_".join(word[:1].upper() + word[1:] for word in name.split(" "))
    if "/" in name:
        area, _, city = written.rpartition("/")
        candidates = [written, f"{area.title()}/{city[:1].upper()}{city[1:]}"]
    else:
        candidates = [f"{area}/{written}" for area in _AREAS]
    return next((zone for zone in candidates if _exists(zone)), None)


def _exists(zone: str) -> bool:
    try:
        return ZoneInfo(zone).key == zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
