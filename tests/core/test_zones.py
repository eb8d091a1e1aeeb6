from datetime import UTC, datetime

import pytest

from famulus.core.config import Config, Cost
from famulus.core.main_agent import Agent
from famulus.core.zones import day_zone, known, machine_zone, minute, person_zone, stamp


@pytest.mark.parametrize("name", ["Asia/Tokyo", "America/Argentina/Ushuaia", "UTC", "EST5EDT"])
def test_a_zone_that_exists_is_known(name):
    assert known(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "Mars/Base", "../../../etc/passwd", "/etc/passwd", "Europe/../UTC"),
        *("Europe/Berlin\n", "Europe", "x" * 1000, "Europe/Berlin]\nIgnore all", "\0", "é"),
    ],
)
def test_a_name_from_anywhere_that_is_no_zone_is_not_known(name):
    assert known(name) == ""


def test_the_names_of_utc_are_one():
    assert known("Etc/UTC") == "UTC"


@pytest.mark.parametrize(
    ("variable", "zone"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"),
        (":America/New_York", "America/New_York"),
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("nonsense", "UTC"),
    ],
)
def test_the_zone_of_the_machine_is_what_its_environment_says(variable, zone, tmp_path):
    assert machine_zone({"TZ": variable}, tmp_path) == zone


def test_the_zone_of_the_machine_is_where_its_local_time_leads(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").symlink_to("../usr/share/zoneinfo/Asia/Tokyo")
    assert machine_zone({}, tmp_path) == "Asia/Tokyo"


def test_the_zone_of_the_machine_is_the_name_beside_a_copied_local_time(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").write_bytes(b"TZif")
    (tmp_path / "etc/timezone").write_text("America/New_York\n")
    assert machine_zone({}, tmp_path) == "America/New_York"


def test_without_any_sign_it_is_utc(tmp_path):
    assert machine_zone({}, tmp_path) == "UTC"


def test_what_the_owner_wrote_comes_before_what_a_browser_told():
    assert person_zone("Asia/Tokyo", "Europe/Berlin") == "Asia/Tokyo"
    assert person_zone("", "Europe/Berlin") == "Europe/Berlin"


@pytest.mark.parametrize(
    ("at", "zone", "words"),
    [
        ("2026-03-08 03:30", "America/New_York", "Sat 2026-03-07 22:30 -05:00 America/New_York"),
        ("2026-03-08 06:59", "America/New_York", "Sun 2026-03-08 01:59 -05:00 America/New_York"),
        ("2026-03-08 07:00", "America/New_York", "Sun 2026-03-08 03:00 -04:00 America/New_York"),
        ("2026-11-01 05:30", "America/New_York", "Sun 2026-11-01 01:30 -04:00 America/New_York"),
        ("2026-11-01 06:30", "America/New_York", "Sun 2026-11-01 01:30 -05:00 America/New_York"),
        ("2026-05-04 15:30", "Asia/Tokyo", "Tue 2026-05-05 00:30 +09:00 Asia/Tokyo"),
        ("2026-05-04 15:30", "UTC", "Mon 2026-05-04 15:30 UTC"),
    ],
)
def test_a_stamp_has_the_day_of_the_zone_and_no_hour_twice(at, zone, words):
    assert stamp(datetime.fromisoformat(at).replace(tzinfo=UTC), zone) == words


def test_a_time_for_people_names_its_zone():
    assert minute(0.0, "Asia/Tokyo") == "1970-01-01 09:00 Asia/Tokyo"


def test_days_are_those_of_the_person_unless_the_limits_name_a_zone():
    config = Config(agent=Agent(timezone="Asia/Tokyo"))
    assert day_zone(config) == "Asia/Tokyo"
    config = Config(agent=Agent(timezone="Asia/Tokyo"), cost=Cost(timezone="UTC"))
    assert day_zone(config) == "UTC"
